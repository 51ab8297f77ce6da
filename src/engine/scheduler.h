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

/// What one step may have.
struct StepBudget {
  std::int64_t tokens = 0;         // at least as many as sequences may run
  std::int64_t mixed_prompts = 0;  // prompt tokens while some sequence decodes, unless `next` is told; 0: what is left
  std::int64_t logit_rows = 0;     // at least as many as sequences may run; 0: just as many
};

/// A prompt, or what is left of it.
struct PromptToSchedule {
  std::int64_t tokens = 0;  // at least one
  /// Numbers of its tokens, ascending, at which a chunk must end.
  std::vector<std::int64_t> cuts = {};
  bool all_logits = false;  // whether each of its tokens asks for logits
};

/// Decodes first, then prompt chunks within one token budget a step. Each prompt gets half of what the ones before it
/// have left, so that two that wait both get on; the shortest comes first, but a prompt that has waited counts as
/// shorter with every step, so that a long one is never starved. The first `max_sequences` that were added and haven't
/// finished run; the others wait in order.
class Scheduler {
 public:
  Scheduler(const StepBudget& budget, std::int64_t max_sequences);
  void add(RequestId request, PromptToSchedule prompt);
  /// Forgets it; unknown ids are ignored.
  void finish(RequestId request);
  /// A decode that must wait for its last token to reach the host is left out of steps while it is held.
  void hold(RequestId request, bool held);
  /// A request that is paused is left out of steps, whatever it has left to do.
  void pause(RequestId request, bool paused);
  /// The next step; empty if nothing can run. What it returns counts as done. `mixed_prompts`: for this step, instead
  /// of the budget's.
  std::vector<ScheduledRows> next(std::int64_t mixed_prompts);
  std::vector<ScheduledRows> next() { return next(budget_.mixed_prompts); }

 private:
  struct Entry {
    RequestId request;
    PromptToSchedule prompt;
    std::int64_t done = 0;        // of the prompt's tokens
    std::int64_t waited = 0;      // steps in which another prompt came first
    std::int64_t share = 0;       // of the step that is being planned
    std::int64_t logit_rows = 0;  // that it may have in that step, if all_logits
    bool held = false, paused = false;

    std::int64_t left() const { return prompt.tokens - done; }
    /// Tokens that it could use in one step.
    std::int64_t most() const;
  };
  std::deque<Entry>::iterator find(RequestId request);
  void share_out(std::int64_t tokens, std::int64_t logit_rows);
  ScheduledRows take(Entry& entry);

  const StepBudget budget_;
  const std::int64_t max_sequences_;
  std::deque<Entry> entries_;    // in order of arrival
  std::vector<Entry*> prompts_;  // of the step that is being planned, in the order in which they come
};

}  // namespace strata
