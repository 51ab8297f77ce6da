#include "server/constrained/token_constraints.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace strata {
namespace {

void set_bit(std::span<std::uint32_t> mask, TokenId token) {
  const auto at = static_cast<std::size_t>(token);
  if (token >= 0 && at / 32 < mask.size()) mask[at / 32] |= 1u << (at % 32);
}

void clear_bit(std::span<std::uint32_t> mask, TokenId token) {
  const auto at = static_cast<std::size_t>(token);
  if (token >= 0 && at / 32 < mask.size()) mask[at / 32] &= ~(1u << (at % 32));
}

bool contains(const std::vector<TokenId>& tokens, TokenId token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

}  // namespace

AnswerTokens AnswerTokens::of(const Tokenizer& tokenizer, std::vector<TokenId> stop) {
  if (stop.empty())
    throw Error(ErrorCode::usage,
                "a constrained answer needs a token that ends it, as <|im_end|>, and the model has none");
  AnswerTokens tokens;
  for (const TokenId token : stop)
    if (token < 0 || token >= tokenizer.vocab_size())
      throw Error(ErrorCode::usage, "the stop token " + std::to_string(token) + " is not in the vocabulary of " +
                                        std::to_string(tokenizer.vocab_size()) + " tokens");
  tokens.stop = std::move(stop);
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    if (tokenizer.is_added(token)) tokens.marks.push_back(token);
    const std::string_view bytes = tokenizer.bytes(token);
    if (bytes == "\n" || bytes == "\n\n") tokens.line_ends.push_back(token);
  }
  const auto mark = [&](std::string_view name) {
    const auto token = tokenizer.find(name);
    return token && tokenizer.is_added(*token) ? token : std::nullopt;
  };
  tokens.think_end = mark("</think>");
  tokens.tool_call = mark("<tool_call>");
  tokens.tool_call_end = mark("</tool_call>");
  return tokens;
}

AnswerConstraint::AnswerConstraint(std::shared_ptr<const CompiledGrammar> grammar,
                                   std::shared_ptr<const AnswerTokens> tokens, AnswerStart start)
    : grammar_(std::move(grammar)), tokens_(std::move(tokens)), thinking_(start == AnswerStart::thinking) {
  if (thinking_ && !tokens_->think_end)
    throw Error(ErrorCode::usage,
                "the prompt ends in thinking, which nothing can end: the model has no </think> token");
}

bool AnswerConstraint::restrict(std::span<std::uint32_t> allowed) {
  if (thinking_) {
    mask_.assign(allowed.size(), UINT32_MAX);
    for (const TokenId token : tokens_->marks) clear_bit(mask_, token);
    for (const TokenId token : tokens_->stop) clear_bit(mask_, token);
    set_bit(mask_, *tokens_->think_end);
  } else {
    mask_.assign(allowed.size(), 0);
    if (ended_) {
      for (const TokenId token : tokens_->stop) set_bit(mask_, token);
    } else {
      allow_answer(mask_);
    }
  }
  bool cleared = false;
  for (std::size_t word = 0; word < allowed.size(); ++word) {
    cleared |= (allowed[word] & ~mask_[word]) != 0;
    allowed[word] &= mask_[word];
  }
  return cleared;
}

void AnswerConstraint::accept(TokenId token) {
  if (thinking_) {
    thinking_ = token != tokens_->think_end;
    return;
  }
  if (ended_ || !accept_answer(token))
    throw Error(ErrorCode::failure, "the token " + std::to_string(token) +
                                        " was chosen where the grammar of the answer has no place for it");
  ended_ = contains(tokens_->stop, token);
}

JsonConstraint::JsonConstraint(std::shared_ptr<const CompiledGrammar> grammar,
                               std::shared_ptr<const AnswerTokens> tokens, AnswerStart start)
    : AnswerConstraint(std::move(grammar), std::move(tokens), start), state_(grammar_->grammar()) {}

void JsonConstraint::allow_answer(std::span<std::uint32_t> mask) {
  grammar_->allow(state_, mask);
  if (!state_.can_end()) return;
  for (const TokenId token : tokens_->stop) set_bit(mask, token);
}

bool JsonConstraint::accept_answer(TokenId token) {
  if (contains(tokens_->stop, token)) return state_.can_end();
  const std::string_view bytes = grammar_->trie().bytes(token);
  return !bytes.empty() && state_.advance(bytes);
}

ToolConstraint::ToolConstraint(std::shared_ptr<const CompiledGrammar> grammar,
                               std::shared_ptr<const AnswerTokens> tokens, AnswerStart start, bool parallel)
    : AnswerConstraint(std::move(grammar), std::move(tokens), start),
      max_calls_(parallel ? kMaxCalls : 1),
      state_(grammar_->grammar()) {
  if (!tokens_->tool_call || !tokens_->tool_call_end)
    throw Error(ErrorCode::usage,
                "the model can't be made to call tools: its tokenizer has no <tool_call> and </tool_call>; use "
                "tool_choice auto or none");
}

void ToolConstraint::allow_answer(std::span<std::uint32_t> mask) {
  if (in_call_) {
    grammar_->allow(state_, mask);
    if (state_.can_end()) set_bit(mask, *tokens_->tool_call_end);
    return;
  }
  if (may_call()) {
    set_bit(mask, *tokens_->tool_call);
    for (const TokenId token : tokens_->line_ends)
      if (line_ends_ + std::ssize(grammar_->trie().bytes(token)) <= kMaxLineEnds) set_bit(mask, token);
  }
  if (calls_ == 0) return;
  for (const TokenId token : tokens_->stop) set_bit(mask, token);
}

bool ToolConstraint::accept_answer(TokenId token) {
  if (in_call_) {
    if (token == tokens_->tool_call_end) {
      in_call_ = false;
      return state_.can_end();
    }
    const std::string_view bytes = grammar_->trie().bytes(token);
    return !bytes.empty() && state_.advance(bytes);
  }
  if (may_call() && token == tokens_->tool_call) {
    ++calls_;
    line_ends_ = 0;
    in_call_ = true;
    state_ = GrammarState(grammar_->grammar());
    return true;
  }
  if (may_call() && contains(tokens_->line_ends, token)) {
    line_ends_ += static_cast<int>(grammar_->trie().bytes(token).size());
    return line_ends_ <= kMaxLineEnds;
  }
  return calls_ > 0 && contains(tokens_->stop, token);
}

}  // namespace strata
