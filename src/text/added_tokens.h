// Added tokens, as "<|im_end|>", found in a text before it is split into words.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "text/vocabulary.h"

namespace strata {

/// Finds added tokens from left to right, of those that begin at one place the longest, as Hugging Face `tokenizers`:
/// `single_word` ones not beside a word character; `lstrip` and `rstrip` ones with the white space before or after.
class AddedTokenMatcher {
 public:
  /// What to look for, and for which token. Empty texts are left out.
  struct Pattern {
    std::string text;
    AddedToken token;
  };
  AddedTokenMatcher() = default;
  explicit AddedTokenMatcher(std::vector<Pattern> patterns);

  bool empty() const { return patterns_.empty(); }

  /// A part of the text: an added token, or what lies between.
  struct Part {
    std::size_t begin, end;
    std::optional<TokenId> token;
  };
  /// Whether a token may stand here, before white space is stripped; if not, a shorter one may. Empty: anywhere.
  using Accept = std::function<bool(std::size_t begin, std::size_t end)>;
  /// All of `text`, which must be valid UTF-8, in order; no part is empty. Parts overlap only where an added token is
  /// itself white space that the one before stripped.
  std::vector<Part> split(std::string_view text, const Accept& accept) const;

 private:
  const Pattern* longest_at(std::string_view text, std::size_t at, const Accept& accept) const;

  std::vector<Pattern> patterns_;  // sorted by text
  std::array<bool, 256> is_first_byte_ = {};
};

}  // namespace strata
