// Who runs next: pure bookkeeping, with no backend, no clock and no text.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "engine/request.h"

namespace strata {

/// One sequence's share of a step.
struct ScheduledRows {
  RequestId request = 0;
  std::int64_t count = 0;  // tokens
  bool samples = false;    // whether the last of them asks for a token: decodes, and the end of a prompt

  bool operator==(const ScheduledRows&) const = default;
};

/// Decodes first, then prompt chunks in order of arrival, within one token budget a step. The first `max_sequences`
/// that were added and haven't finished run; the others wait in order.
class Scheduler {
 public:
  /// `token_budget`: tokens a step may have, at least `max_sequences`, so that a prompt always gets on: while one runs,
  /// there is a decode less.
  Scheduler(std::int64_t token_budget, std::int64_t max_sequences);
  /// `prompt_tokens`: that its state hasn't seen, at least one.
  void add(RequestId request, std::int64_t prompt_tokens);
  /// Forgets it; unknown ids are ignored.
  void finish(RequestId request);
  /// A decode that must wait for its last token to reach the host is left out of steps while it is held.
  void hold(RequestId request, bool held);
  /// The next step; empty if nothing can run. What it returns counts as done.
  std::vector<ScheduledRows> next();

 private:
  struct Entry {
    RequestId request;
    std::int64_t prompt_left;
    bool held;
  };
  std::deque<Entry>::iterator find(RequestId request);

  std::int64_t token_budget_, max_sequences_;
  std::deque<Entry> entries_;  // in order of arrival
};

}  // namespace strata
