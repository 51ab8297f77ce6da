// What tokenizer.json puts around the tokens of a text, as a BOS.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/token.h"
#include "text/vocabulary.h"

namespace strata {

/// The `post_processor`: null, ByteLevel (which changes no id), TemplateProcessing for a single text, or a Sequence of
/// these.
struct PostProcessor {
  std::vector<TokenId> before, after;  // the text

  /// Throws Error{bad_model} that begins with `what`, also for ids that the vocabulary has not.
  static PostProcessor parse(const Json& json, const Vocabulary& vocabulary, std::string_view what);
};

}  // namespace strata
