// Decodes first, then prompt chunks in order of arrival.
#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace strata {

Scheduler::Scheduler(std::int64_t token_budget, std::int64_t max_sequences)
    : token_budget_(token_budget), max_sequences_(max_sequences) {
  CHECK(max_sequences >= 1 && token_budget >= max_sequences, "a step must have room for a token of every sequence");
}

void Scheduler::add(RequestId request, std::int64_t prompt_tokens) {
  CHECK(prompt_tokens >= 1, "a sequence needs a token to start from");
  CHECK(find(request) == entries_.end(), "a request was added twice");
  entries_.push_back({request, prompt_tokens, false});
}

void Scheduler::finish(RequestId request) {
  if (const auto entry = find(request); entry != entries_.end()) entries_.erase(entry);
}

void Scheduler::hold(RequestId request, bool held) {
  const auto entry = find(request);
  CHECK(entry != entries_.end(), "a request that isn't scheduled was held");
  entry->held = held;
}

std::vector<ScheduledRows> Scheduler::next() {
  std::vector<ScheduledRows> rows;
  const auto end = entries_.begin() + std::min(max_sequences_, static_cast<std::int64_t>(entries_.size()));
  std::int64_t left = token_budget_;
  for (auto entry = entries_.begin(); entry != end; ++entry) {
    if (entry->prompt_left > 0 || entry->held) continue;
    rows.push_back({entry->request, 1, true});
    --left;
  }
  for (auto entry = entries_.begin(); entry != end && left > 0; ++entry) {
    if (entry->prompt_left == 0) continue;
    const std::int64_t count = std::min(left, entry->prompt_left);
    entry->prompt_left -= count;
    left -= count;
    rows.push_back({entry->request, count, entry->prompt_left == 0});
  }
  return rows;
}

std::deque<Scheduler::Entry>::iterator Scheduler::find(RequestId request) {
  return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.request == request; });
}

}  // namespace strata
