// The splitting of text into the words that BPE merges within.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/regex.h"

namespace strata {

/// The `pre_tokenizer` of a byte-level tokenizer.json: ByteLevel, or a Sequence of Split, Digits and Punctuation that
/// ends with ByteLevel. The semantics are those of Hugging Face `tokenizers`.
class PreTokenizer {
 public:
  /// Bytes of the text.
  struct Word {
    std::size_t begin, end;
    friend bool operator==(const Word&, const Word&) = default;
  };

  /// Throws Error{bad_model} that begins with `what`.
  static PreTokenizer parse(const Json& json, std::string_view what);

  /// Whether a space goes before a text that begins with none.
  bool add_prefix_space() const { return add_prefix_space_; }
  /// The steps and their patterns, for a person to read.
  const std::string& description() const { return description_; }

  /// Splits many texts; of one thread.
  class Splitter {
   public:
    explicit Splitter(const PreTokenizer& pre_tokenizer);
    using Emit = std::function<void(Word)>;
    /// Emits the words of `text`, which must be valid UTF-8, from left to right, none empty. What a Split removes is in
    /// none. Throws what Regex::Matcher::find throws.
    void split(std::string_view text, const Emit& emit);

   private:
    void apply(std::size_t step, std::string_view text, Word word, const Emit& emit);

    const PreTokenizer& pre_tokenizer_;
    std::vector<Regex::Matcher> matchers_;  // of each step
  };

 private:
  /// What becomes of the matches of a step's pattern, by Hugging Face's names.
  enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
  struct Step {
    Regex regex;
    Behavior behavior;
    bool invert;  // the text between the matches is treated as the matches, and the other way round

    /// Whether what follows a range becomes one word with it.
    bool joins(bool is_match, bool next_is_match) const;
  };

  static Behavior parse_behavior(const Json& json, std::string_view what);
  void add_step(const Json& json, std::string_view what);
  void add_byte_level(const Json& json, std::string_view what);
  void describe(const std::string& step);

  std::vector<Step> steps_;
  bool byte_level_ = false;
  bool add_prefix_space_ = false;
  std::string description_;
};

}  // namespace strata
