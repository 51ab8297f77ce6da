// Tokens in, whole characters out, as a model writes.
#pragma once

#include <string>

#include "base/token.h"
#include "text/tokenizer.h"

namespace strata {

/// Turns tokens to text as they come and holds back a character until all its bytes are there. What push() and
/// finish() return is valid UTF-8 and adds up to Tokenizer::decode of the tokens.
class TextStream {
 public:
  /// `tokenizer` must outlive the stream.
  explicit TextStream(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  /// The text that `id` completes; empty if it ends inside a character, or is special and skipped.
  std::string push(TokenId id);
  /// U+FFFD if a character is still incomplete, else nothing. The stream then begins anew.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::string held_;  // an incomplete character's bytes, at most three
};

}  // namespace strata
