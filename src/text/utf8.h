// UTF-8, one character at a time, as text that strangers send has to be read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "text/alignment.h"

namespace strata {

/// U+FFFD, what invalid UTF-8 is replaced by.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// What stands at the start of some bytes.
struct Utf8Char {
  enum class Kind {
    valid,
    invalid,     // no text can continue these bytes to a character
    incomplete,  // the bytes end inside a character that may still become valid
  };
  Kind kind;
  std::size_t bytes;   // of the character, or of the maximal invalid or incomplete part; at least 1
  char32_t codepoint;  // if valid
};

/// Reads the first character of `text`, which must not be empty. Invalid parts have the length that one U+FFFD
/// replaces (Unicode, section 3.9, "substitution of maximal subparts").
Utf8Char read_utf8(std::string_view text);

/// The length of the longest prefix that is valid UTF-8.
std::size_t valid_utf8_prefix(std::string_view text);

/// `text` with each maximal invalid part, an incomplete last one too, replaced by U+FFFD. `alignment`, if
/// wanted, comes empty and leads back from the result to `text`.
std::string replace_invalid_utf8(std::string_view text, Alignment* alignment = nullptr);

/// Appends a Unicode scalar value as UTF-8.
void append_utf8(char32_t codepoint, std::string& out);

}  // namespace strata
