#include "server/constrained/constraint_compiler.h"

#include "base/error.h"
#include "server/constrained/json_schema.h"
#include "server/constrained/tool_grammar.h"

namespace strata {
namespace {

constexpr std::size_t kMaxGrammars = 16;  // with kMaskBytes each

std::string key_of(const char* kind, const Json& json) {
  try {
    return std::string(kind) + json.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::usage, "a string of the schema is not valid UTF-8");
  }
}

/// Refuses what is too deep to be written or walked by recursion.
void check_depth(const Json& json, int most) {
  if (!json.is_structured()) return;
  if (most == 0)
    throw SchemaError("#", "", "it is nested deeper than " + std::to_string(SchemaLimits().depth) + " levels");
  for (const Json& part : json) check_depth(part, most - 1);
}

}  // namespace

ConstraintCompiler::ConstraintCompiler(const Tokenizer& tokenizer, std::vector<TokenId> stop_tokens)
    : tokens_(std::make_shared<const AnswerTokens>(AnswerTokens::of(tokenizer, std::move(stop_tokens)))),
      trie_(std::make_shared<const TokenTrie>(tokenizer)) {}

template <typename Compile>
ConstraintCompiler::GrammarPtr ConstraintCompiler::cached(std::string key, Compile compile) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      return found->second->second;
    }
  }
  auto grammar = std::make_shared<const CompiledGrammar>(compile(), trie_);  // others needn't wait for it
  const std::lock_guard lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) return found->second->second;
  recent_.emplace_front(std::move(key), grammar);
  by_key_.emplace(recent_.front().first, recent_.begin());
  if (recent_.size() > kMaxGrammars) {
    by_key_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return grammar;
}

ConstraintCompiler::GrammarPtr ConstraintCompiler::json_schema(const Json& schema) {
  check_depth(schema, SchemaLimits().depth);
  return cached(key_of("schema ", schema), [&] { return compile_json_schema(schema); });
}

ConstraintCompiler::GrammarPtr ConstraintCompiler::json_object() {
  return cached("object", [] { return json_object_grammar(); });
}

ConstraintCompiler::GrammarPtr ConstraintCompiler::choice(std::span<const std::string> texts) {
  std::string key = "choice";
  for (const std::string& text : texts) key += ' ' + std::to_string(text.size()) + ' ' + text;
  return cached(std::move(key), [&] { return compile_choice(texts); });
}

ConstraintCompiler::GrammarPtr ConstraintCompiler::tool_calls(const Json& tools, std::optional<std::string_view> name) {
  constexpr int kToolDepth = 4;  // tools, tool, function, and parameters within
  check_depth(tools, SchemaLimits().depth + kToolDepth);
  const std::string kind = name ? "tool " + std::to_string(name->size()) + " " + std::string(*name) : "tools ";
  return cached(key_of(kind.c_str(), tools), [&] { return compile_tool_calls(tools, name); });
}

std::unique_ptr<TokenConstraint> ConstraintCompiler::constrain_answer(GrammarPtr grammar, AnswerStart start) const {
  return std::make_unique<JsonConstraint>(std::move(grammar), tokens_, start);
}

std::unique_ptr<TokenConstraint> ConstraintCompiler::constrain_tool_calls(GrammarPtr grammar, AnswerStart start,
                                                                          bool parallel) const {
  return std::make_unique<ToolConstraint>(std::move(grammar), tokens_, start, parallel);
}

}  // namespace strata
