// Grammars as constraints on the tokens of one answer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/constraint.h"
#include "server/constrained/compiled_grammar.h"
#include "server/constrained/grammar_state.h"
#include "text/tokenizer.h"

namespace strata {

/// Where the prompt leaves the model: inside <think>, or past it.
enum class AnswerStart { thinking, content };

/// The tokens that are no text and matter to the shape of an answer.
struct AnswerTokens {
  /// `stop`: what ends an answer. Throws Error{usage} if it is empty or has an unknown token.
  static AnswerTokens of(const Tokenizer& tokenizer, std::vector<TokenId> stop);

  std::vector<TokenId> stop;
  std::vector<TokenId> marks;            // all added tokens: of turns, tools, thinking
  std::vector<TokenId> line_ends;        // "\n" and "\n\n"
  std::optional<TokenId> think_end;      // </think>
  std::optional<TokenId> tool_call;      // <tool_call>
  std::optional<TokenId> tool_call_end;  // </tool_call>
};

/// What all constraints of an answer share: while the model thinks, all is allowed but marks and the end; </think>
/// begins the answer.
class AnswerConstraint : public TokenConstraint {
 public:
  bool restrict(std::span<std::uint32_t> allowed) final;
  /// Throws Error{failure} for a token that the grammar has no place for.
  void accept(TokenId token) final;

 protected:
  /// Throws Error{usage} if the answer starts in thinking and the model has no </think>.
  AnswerConstraint(std::shared_ptr<const CompiledGrammar> grammar, std::shared_ptr<const AnswerTokens> tokens,
                   AnswerStart start);
  /// ORs into `mask` what may come next in the answer itself.
  virtual void allow_answer(std::span<std::uint32_t> mask) = 0;
  /// False if the token may not come.
  virtual bool accept_answer(TokenId token) = 0;

  const std::shared_ptr<const CompiledGrammar> grammar_;
  const std::shared_ptr<const AnswerTokens> tokens_;

 private:
  bool thinking_;
  bool ended_ = false;  // a stop token has come
  std::vector<std::uint32_t> mask_;
};

/// An answer that is one text of a grammar and then ends.
class JsonConstraint final : public AnswerConstraint {
 public:
  JsonConstraint(std::shared_ptr<const CompiledGrammar> grammar, std::shared_ptr<const AnswerTokens> tokens,
                 AnswerStart start);

 private:
  void allow_answer(std::span<std::uint32_t> mask) override;
  bool accept_answer(TokenId token) override;

  GrammarState state_;
};

/// An answer that is calls: <tool_call>, a text of the grammar, </tool_call>; up to two line ends before each; with
/// `parallel` up to kMaxCalls of them, else one.
class ToolConstraint final : public AnswerConstraint {
 public:
  static constexpr int kMaxCalls = 32;
  static constexpr int kMaxLineEnds = 2;

  /// Throws Error{usage} if the model has no <tool_call> and </tool_call>.
  ToolConstraint(std::shared_ptr<const CompiledGrammar> grammar, std::shared_ptr<const AnswerTokens> tokens,
                 AnswerStart start, bool parallel);

 private:
  void allow_answer(std::span<std::uint32_t> mask) override;
  bool accept_answer(TokenId token) override;
  bool may_call() const { return calls_ < max_calls_; }

  const int max_calls_;
  int calls_ = 0;      // begun
  int line_ends_ = 0;  // since the last call
  bool in_call_ = false;
  GrammarState state_;  // in a call
};

}  // namespace strata
