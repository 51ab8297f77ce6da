#include "server/generation/answer_constraints.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace strata {
namespace {

bool allows(std::span<const std::uint32_t> mask, TokenId token) {
  const auto t = static_cast<std::size_t>(token);
  return t / 32 < mask.size() && (mask[t / 32] >> (t % 32) & 1) != 0;
}

}  // namespace

std::int64_t ThinkingBudget::grace(std::int64_t budget) {
  return budget == 0 ? 0 : std::min<std::int64_t>(500, budget / 8 + 8);
}

ThinkingBudget::ThinkingBudget(const Tokenizer& tokenizer, const Marks& marks, std::int64_t budget)
    : tokenizer_(tokenizer),
      marks_(marks),
      budget_(budget),
      full_stop_(tokenizer.encode(".\n", {.post_process = false})) {}

bool ThinkingBudget::restrict(std::span<std::uint32_t> allowed) {
  if (done_ || in_call_) return false;
  if (forced_.empty()) {
    if (tokens_ < budget_ || (!line_ended_ && tokens_ < budget_ + grace(budget_))) return false;
    forced_.push_back(*marks_.token(Mark::think_end));
    if (!line_ended_) forced_.insert(forced_.end(), full_stop_.rbegin(), full_stop_.rend());
    used_ = true;
  }
  const bool possible = allows(allowed, forced_.back());
  std::fill(allowed.begin(), allowed.end(), 0);
  const auto token = static_cast<std::size_t>(forced_.back());
  if (possible) allowed[token / 32] = 1u << (token % 32);
  return true;
}

void ThinkingBudget::accept(TokenId token) {
  if (done_) return;
  if (!forced_.empty() && token == forced_.back()) forced_.pop_back();
  ++tokens_;
  const std::string_view bytes = tokenizer_.bytes(token);
  line_ended_ = bytes.ends_with('\n') || (bytes.empty() && line_ended_);
  if (const auto mark = marks_.of(token)) {
    done_ = mark == Mark::think_end;
    in_call_ = mark == Mark::call_begin || (in_call_ && mark != Mark::call_end);
  }
}

bool ForbiddenTokens::restrict(std::span<std::uint32_t> allowed) {
  if (left_ == 0) return false;
  for (const TokenId token : forbidden_) {
    const auto t = static_cast<std::size_t>(token);
    if (t / 32 < allowed.size()) allowed[t / 32] &= ~(1u << (t % 32));
  }
  return true;
}

FormOrCalls::FormOrCalls(std::unique_ptr<TokenConstraint> form, const Tokenizer& tokenizer, const Marks& marks,
                         bool thinking)
    : form_(std::move(form)), tokenizer_(tokenizer), marks_(marks), thinking_(thinking) {}

bool FormOrCalls::restrict(std::span<std::uint32_t> allowed) {
  if (calls_) return false;
  const std::optional<TokenId> call = marks_.token(Mark::call_begin);
  const bool may_call = !thinking_ && !begun_ && call && allows(allowed, *call);
  const bool cleared = form_->restrict(allowed);
  if (may_call) allowed[static_cast<std::size_t>(*call) / 32] |= 1u << (*call % 32);
  return cleared;
}

void FormOrCalls::accept(TokenId token) {
  if (calls_) return;
  const std::optional<Mark> mark = marks_.of(token);
  if (!thinking_ && !begun_ && mark == Mark::call_begin) {
    calls_ = true;
    return;
  }
  form_->accept(token);
  if (thinking_) {
    thinking_ = mark != Mark::think_end;
  } else {
    begun_ = begun_ || tokenizer_.bytes(token).find_first_not_of(" \t\r\n") != std::string_view::npos;
  }
}

}  // namespace strata
