// Strings of the Jinja interpreter: UTF-8 bytes, and for each byte whether the template or the request wrote it.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "text/segment.h"

namespace strata::jinja {

/// What a template does wrong while it renders. The interpreter fills in the line of the template.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
  int line = 0;
};

/// No string, and no rendered prompt, may grow beyond this.
inline constexpr std::size_t kMaxTextBytes = 16 << 20;

/// A string value. Invalid UTF-8 is kept; each byte of it counts as one character.
class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool from_input);
  static Text of_template(std::string bytes) { return Text(std::move(bytes), false); }
  static Text of_input(std::string bytes) { return Text(std::move(bytes), true); }

  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  /// Whether any byte came from the request.
  bool has_input() const;
  /// Origin of the byte at `offset` < size().
  bool from_input_at(std::size_t offset) const;
  /// Bytes [begin, end), with their origins.
  Text slice(std::size_t begin, std::size_t end) const;
  /// Throws Failure if the text grows beyond kMaxTextBytes.
  void append(const Text& tail);
  void append(std::string_view bytes, bool from_input);
  /// One segment for each run of one origin.
  std::vector<TextSegment> segments() const;

 private:
  struct Run {
    std::size_t end;
    bool from_input;
  };
  std::string bytes_;
  std::vector<Run> runs_;  // neighbours differ in origin; the last one ends at bytes_.size()
};

/// Code point at `offset` and its bytes; an invalid byte reads as {0xDC00 + byte, 1}, as Python's surrogateescape does.
struct Character {
  char32_t code;
  std::size_t bytes;
};
Character character_at(std::string_view text, std::size_t offset);
/// Number of characters: Python's len().
std::size_t character_count(std::string_view text);
/// Byte offset of the character of this index; text.size() if there are not so many.
std::size_t byte_offset(std::string_view text, std::size_t index);
/// Python's str.isspace(), which str.strip() and str.split() go by.
bool is_space(char32_t code);

/// Simple case mappings of Unicode, plus "ß" to "SS"; other characters whose case is longer than they are stay.
Text upper(const Text& text);
Text lower(const Text& text);
/// The first character in upper case, the others in lower case.
Text capitalize(const Text& text);

enum class Side { left, right, both };
/// Without what lies at its sides and is one of the characters in `set`, or white space if `set` is null.
Text strip(const Text& text, const std::string* set, Side side);
/// Python's str.splitlines(): every Unicode line boundary ends a line.
std::vector<Text> split_lines(const Text& text, bool keep_ends);
/// Python's str.split(separator, limit) or rsplit; a null separator splits at runs of white space; limit < 0: none.
/// `separator` must not be empty.
std::vector<Text> split(const Text& text, const std::string* separator, long long limit, bool from_right);
/// The first `limit` occurrences of `old` (all if limit < 0) replaced; an empty `old` matches between characters.
Text replace(const Text& text, const std::string& old, const Text& replacement, long long limit);
/// The five characters that HTML escapes, as MarkupSafe writes them.
Text escape_html(const Text& text);

}  // namespace strata::jinja
