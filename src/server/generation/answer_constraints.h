// Small constraints on answers: how long they think, when they may end, what they may not say.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/constraint.h"
#include "server/generation/answer_parser.h"
#include "text/tokenizer.h"

namespace strata {

/// Ends the thinking of an answer that begins inside it: after `budget` tokens at the next line end, and where none
/// comes within the grace, at once with a full stop and a line end. What it adds are tokens like any others: the model
/// goes on from them. Tokens of a <tool_call> in the thinking count, but it isn't cut.
class ThinkingBudget final : public TokenConstraint {
 public:
  /// An eighth of the budget and 8, at most 500; none for a budget of 0.
  static std::int64_t grace(std::int64_t budget);

  /// `tokenizer` must outlive it. The model must have </think>.
  ThinkingBudget(const Tokenizer& tokenizer, const Marks& marks, std::int64_t budget);
  bool restrict(std::span<std::uint32_t> allowed) override;
  void accept(TokenId token) override;
  /// Whether it has ended the thinking.
  bool used() const { return used_; }

 private:
  const Tokenizer& tokenizer_;
  const Marks marks_;
  const std::int64_t budget_;
  const std::vector<TokenId> full_stop_;
  std::vector<TokenId> forced_;  // what comes next, the first last
  std::int64_t tokens_ = 0;
  bool done_ = false, in_call_ = false, line_ended_ = true, used_ = false;
};

/// Forbids some tokens in the first `tokens` tokens of an answer.
class ForbiddenTokens final : public TokenConstraint {
 public:
  ForbiddenTokens(std::vector<TokenId> forbidden, std::int64_t tokens)
      : forbidden_(std::move(forbidden)), left_(tokens) {}
  bool restrict(std::span<std::uint32_t> allowed) override;
  void accept(TokenId) override { left_ -= left_ > 0; }

 private:
  const std::vector<TokenId> forbidden_;
  std::int64_t left_;
};

/// An answer of some form, or calls of tools instead: as long as the answer hasn't begun, <tool_call> is allowed too,
/// and lifts the form.
class FormOrCalls final : public TokenConstraint {
 public:
  /// `form`: of an answer that begins in thinking or not. `tokenizer` must outlive it.
  FormOrCalls(std::unique_ptr<TokenConstraint> form, const Tokenizer& tokenizer, const Marks& marks, bool thinking);
  bool restrict(std::span<std::uint32_t> allowed) override;
  void accept(TokenId token) override;

 private:
  const std::unique_ptr<TokenConstraint> form_;
  const Tokenizer& tokenizer_;
  const Marks marks_;
  bool thinking_;
  bool begun_ = false, calls_ = false;
};

}  // namespace strata
