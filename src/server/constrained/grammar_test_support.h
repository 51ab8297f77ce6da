// What the tests of grammars share.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "server/constrained/grammar_state.h"
#include "server/constrained/json_schema.h"
#include "text/tokenizer.h"

namespace strata {

inline std::shared_ptr<const Grammar> shared(Grammar grammar) {
  return std::make_shared<const Grammar>(std::move(grammar));
}

inline std::shared_ptr<const Grammar> schema_grammar(std::string_view schema) {
  return shared(compile_json_schema(parse_json(schema, "schema")));
}

/// Whether `text` is of the grammar, a byte at a time.
inline bool accepts(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  GrammarState state(grammar);
  for (const char& byte : text)
    if (!state.advance({&byte, 1})) return false;
  return state.can_end();
}

/// Whether some text of the grammar begins with `text`.
inline bool begins(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  return GrammarState(grammar).advance(text);
}

inline const Tokenizer& demo_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  return tokenizer;
}

}  // namespace strata
