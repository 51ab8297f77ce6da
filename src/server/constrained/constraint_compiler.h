// Structured output: JSON schemas, choices and tool calls to constraints on tokens.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "engine/constraint.h"
#include "server/constrained/compiled_grammar.h"
#include "server/constrained/token_constraints.h"
#include "text/tokenizer.h"

namespace strata {

/// Turns what requests ask for into grammars, and grammars into the constraints of one answer each. One for a model;
/// thread-safe. What was compiled is kept, with its masks, for the next request that asks for the same.
///
/// Usage: compile on the request's thread (it throws what is wrong with the request), then give the engine one new
/// constraint for each answer, also for each of `n`.
class ConstraintCompiler {
 public:
  /// `stop_tokens`: what ends an answer, as <|im_end|>; they alone are allowed when a grammar is complete.
  /// Throws Error{usage} if there is none.
  ConstraintCompiler(const Tokenizer& tokenizer, std::vector<TokenId> stop_tokens);

  using GrammarPtr = std::shared_ptr<const CompiledGrammar>;

  /// The JSON values that `schema` describes; the subset and its limits stand at compile_json_schema(). Throws
  /// SchemaError.
  GrammarPtr json_schema(const Json& schema);
  /// `response_format: {"type": "json_object"}`: any JSON object.
  GrammarPtr json_object();
  /// `structured_outputs: {"choice": [...]}`: one of these texts, as it is. Throws Error{usage} for no text, an empty
  /// one, invalid UTF-8, or more than 256 KiB.
  GrammarPtr choice(std::span<const std::string> texts);
  /// Calls of `tools`, OpenAI's list of {"type": "function", "function": {name, parameters}}: of any of them
  /// (tool_choice required), or of the one called `name`. The grammar of compile_tool_calls(). Throws Error{usage} for
  /// an unknown name, SchemaError for parameters that can't be called, and Error{usage} if the model has no <tool_call>
  /// token.
  GrammarPtr tool_calls(const Json& tools, std::optional<std::string_view> name);

  /// The constraint of an answer that is one text of `grammar` (of the first three above).
  std::unique_ptr<TokenConstraint> constrain_answer(GrammarPtr grammar, AnswerStart start) const;
  /// The constraint of an answer that is one call (or with `parallel` one or more) of tool_calls()' grammar.
  std::unique_ptr<TokenConstraint> constrain_tool_calls(GrammarPtr grammar, AnswerStart start, bool parallel) const;

 private:
  template <typename Compile>
  GrammarPtr cached(std::string key, Compile compile);

  std::shared_ptr<const AnswerTokens> tokens_;
  std::shared_ptr<const TokenTrie> trie_;

  std::mutex mutex_;
  std::list<std::pair<std::string, GrammarPtr>> recent_;  // the last used first
  std::unordered_map<std::string_view, std::list<std::pair<std::string, GrammarPtr>>::iterator> by_key_;
};

}  // namespace strata
