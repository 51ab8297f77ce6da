// Decodes first, then prompt chunks, the shortest that is left first.
#include "engine/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace strata {
namespace {

constexpr std::int64_t kLeastShare = 16;  // smaller chunks cost more than they are worth; but two prompts always share

/// What a step of waiting makes a prompt shorter by, as a part of the tokens of a step. The longest prompt comes first
/// after as many steps as it would take alone, times this.
constexpr std::int64_t kAgeing = 4;

StepBudget filled_in(StepBudget budget, std::int64_t max_sequences) {
  if (budget.mixed_prompts == 0) budget.mixed_prompts = budget.tokens;
  if (budget.logit_rows == 0) budget.logit_rows = max_sequences;
  return budget;
}

}  // namespace

Scheduler::Scheduler(const StepBudget& budget, std::int64_t max_sequences)
    : budget_(filled_in(budget, max_sequences)), max_sequences_(max_sequences) {
  // So a prompt always gets on: while one runs, there is a decode less.
  CHECK(max_sequences >= 1 && budget_.tokens >= max_sequences && budget_.logit_rows >= max_sequences &&
            budget_.mixed_prompts >= 1,
        "a step must have room for a token and a row of logits of every sequence");
}

void Scheduler::add(RequestId request, PromptToSchedule prompt) {
  CHECK(prompt.tokens >= 1, "a sequence needs a token to start from");
  CHECK(find(request) == entries_.end(), "a request was added twice");
  Entry entry;
  entry.request = request;
  entry.prompt = std::move(prompt);
  entries_.push_back(std::move(entry));
}

void Scheduler::finish(RequestId request) {
  if (const auto entry = find(request); entry != entries_.end()) entries_.erase(entry);
}

void Scheduler::hold(RequestId request, bool held) {
  const auto entry = find(request);
  CHECK(entry != entries_.end(), "a request that isn't scheduled was held");
  entry->held = held;
}

void Scheduler::pause(RequestId request, bool paused) {
  const auto entry = find(request);
  CHECK(entry != entries_.end(), "a request that isn't scheduled was paused");
  entry->paused = paused;
}

std::int64_t Scheduler::Entry::most() const {
  std::int64_t most = left();
  const auto cut = std::upper_bound(prompt.cuts.begin(), prompt.cuts.end(), done);
  if (cut != prompt.cuts.end()) most = std::min(most, *cut - done);
  return prompt.all_logits ? std::min(most, logit_rows) : most;
}

std::vector<ScheduledRows> Scheduler::next(std::int64_t mixed_prompts) {
  std::vector<ScheduledRows> rows;
  prompts_.clear();
  bool decoding = false;
  const auto end = entries_.begin() + std::min(max_sequences_, static_cast<std::int64_t>(entries_.size()));
  for (auto entry = entries_.begin(); entry != end; ++entry) {
    if (entry->paused) continue;
    if (entry->left() > 0) {
      prompts_.push_back(&*entry);
      continue;
    }
    decoding = true;
    if (!entry->held) rows.push_back({entry->request, 1, true});
  }
  if (prompts_.empty()) return rows;
  const std::int64_t left = budget_.tokens - std::ssize(rows);
  share_out(decoding ? std::min(left, mixed_prompts) : left, budget_.logit_rows - std::ssize(rows));
  for (Entry* entry : prompts_) {
    if (entry->share > 0) rows.push_back(take(*entry));
  }
  return rows;
}

/// Gives each of prompts_ its share of `tokens`, at least one of them something. Every sequence keeps a row of logits
/// for the end of its prompt.
void Scheduler::share_out(std::int64_t tokens, std::int64_t logit_rows) {
  const std::int64_t per_step = std::max<std::int64_t>(1, budget_.tokens / kAgeing);
  const auto key = [&](const Entry* e) { return std::pair(e->left() - e->waited * per_step, e->request); };
  std::sort(prompts_.begin(), prompts_.end(), [&](const Entry* a, const Entry* b) { return key(a) < key(b); });
  std::int64_t spare_rows = logit_rows - std::ssize(prompts_);
  for (Entry* entry : prompts_) {
    entry->share = 0;
    entry->logit_rows = 1 + spare_rows;
    if (entry != prompts_.front()) ++entry->waited;
    if (!entry->prompt.all_logits) continue;
    // All that is spare goes to the first that can use it.
    spare_rows = std::max<std::int64_t>(0, spare_rows - (entry->most() - 1));
  }
  for (std::size_t i = 0; i < prompts_.size() && tokens > 0; ++i) {
    const bool last = i + 1 == prompts_.size() || (i > 0 && tokens < 2 * kLeastShare);
    prompts_[i]->share = std::min(prompts_[i]->most(), last ? tokens : (tokens + 1) / 2);
    tokens -= prompts_[i]->share;
  }
  // What the later ones couldn't use.
  for (Entry* entry : prompts_) {
    const std::int64_t more = std::min(tokens, entry->most() - entry->share);
    entry->share += more;
    tokens -= more;
  }
}

ScheduledRows Scheduler::take(Entry& entry) {
  entry.done += entry.share;
  return {entry.request, entry.share, entry.left() == 0};
}

std::deque<Scheduler::Entry>::iterator Scheduler::find(RequestId request) {
  return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.request == request; });
}

}  // namespace strata
