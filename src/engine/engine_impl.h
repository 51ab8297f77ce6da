// What the engine keeps: requests that wait, sequences that run, steps in flight.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_memory.h"
#include "engine/step_pace.h"
#include "state/prefix_cache.h"

namespace strata {

/// A request from submit to its last event. Shared by the steps that have rows of it: so its slot and pages are neither
/// freed nor reused before the last of them is done, whatever became of the request.
struct Sequence {
  RequestId id = 0;
  Request request;
  std::optional<SequenceState> state;  // while it runs, or brought along
  std::optional<HostState> parked;     // instead of `state`, while its memory is others'
  std::vector<TokenId> answer;         // tokens that are known on the host
  std::int64_t enqueued = 0;           // tokens that steps were asked for; those of the last few aren't known yet
  std::int64_t limit = 0;              // tokens that the answer may have
  std::size_t snapshots_passed = 0;    // of request.snapshots
  std::shared_ptr<Sequence> leader;    // that it starts after
  SamplingParameters prompt_sampling;  // what is reported of the prompt's tokens
  bool brought_state = false;          // it came with one
  bool started = false, ended = false, paused = false;

  /// Whether a step must wait for the token of the one before: penalties and constraints read it, and a state that is
  /// handed out or remembered must not have gone past the answer's end.
  bool needs_last_token() const {
    return request.sampling.needs_history() || !request.constraints.empty() || request.on_state || request.remember_end;
  }
  std::int64_t prompt_tokens() const { return std::ssize(request.prompt); }
  /// Whether the one that it starts after has still to take a snapshot.
  bool follows() const {
    return leader && !leader->ended && leader->snapshots_passed < leader->request.snapshots.size();
  }
  /// Tokens that its state reaches: the last one of the answer isn't fed back.
  std::int64_t length_at_end() const { return prompt_tokens() + std::max<std::int64_t>(limit - 1, 0); }
  /// Tokens of prompt and answer that are known on the host.
  std::int64_t known_length() const { return prompt_tokens() + std::ssize(answer); }
  /// The order of those that wait, and of those that keep their memory.
  std::pair<std::int64_t, RequestId> order() const { return {request.priority, id}; }
};

/// Where the samples of one step go, in the backend's memory.
struct SampleBuffers {
  Buffer chosen;  // a step's tokens, then their log probabilities
  Buffer top_ids, top_logprobs;
};

/// A row of logits of a step.
struct SampledRow {
  std::shared_ptr<Sequence> sequence;
  std::int64_t prompt_index = -1;  // of the prompt's token that it reports on; -1: it chooses the answer's next
};

/// How far a step brought a prompt.
struct PromptProgress {
  std::shared_ptr<Sequence> sequence;
  std::int64_t length = 0;  // tokens that its state has seen
};

/// A step whose tokens haven't been collected.
struct StepInFlight {
  std::vector<std::shared_ptr<Sequence>> sequences;  // all that have rows in it
  std::vector<SampledRow> sampled;                   // its logit rows, in order
  std::vector<PromptProgress> progress;              // of those that want to know
  std::size_t buffers = 0;                           // index into sample_buffers_
  std::uint64_t mark = 0;
  std::int64_t decodes = 0, prompt_tokens = 0;
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
};

/// Throw Error{usage}: always, or where a field's value is out of its range.
[[noreturn]] void refuse(const std::string& message);
void require_range(const char* field, std::int64_t value, std::int64_t low, std::int64_t high);

struct Engine::Impl {
  Impl(const Model& model, Backend& backend, const EngineOptions& options);

  // The loop (engine.cpp).
  bool step();
  bool turn();
  bool enqueue();
  void forward(StepInFlight& step);
  void build_batch(const std::vector<ScheduledRows>& plan, StepInFlight& step);
  void add_rows(const ScheduledRows& planned, const std::shared_ptr<Sequence>& sequence, StepInFlight& step);
  void add_logit_row(const std::shared_ptr<Sequence>& sequence, std::int64_t row, const SamplingRow& sampling,
                     std::int64_t prompt_index, StepInFlight& step);
  bool restrict_next(Sequence& sequence, std::span<const std::uint32_t>& allowed);
  void remember_snapshots(const StepInFlight& step);
  void publish();

  // What a step's samples become (engine_collect.cpp).
  void collect();
  void count_time(const StepInFlight& step);
  void download(const StepInFlight& step);
  void deliver(Sequence& sequence, std::size_t row);
  std::size_t deliver_prompt(const StepInFlight& step, std::size_t first);
  float logprob_of(std::size_t row) const;
  std::size_t alternatives(const SamplingParameters& sampling, std::size_t row, std::span<const TokenId>& ids,
                           std::span<const float>& logprobs) const;
  void end_with_bad_logits(Sequence& sequence, std::int64_t position);

  // Who has memory (engine_admission.cpp).
  bool admit();
  bool start(const std::shared_ptr<Sequence>& sequence);
  bool take_memory(Sequence& sequence, PrefixCache::Match& match);
  std::int64_t pages_needed_soon() const;
  bool make_room();
  bool has_next_page(Sequence& sequence);
  bool park_last(const Sequence* but);
  bool park_paused();

  // Requests (engine_requests.cpp).
  RequestId submit(Request request);
  void validate(const Request& request) const;
  void refuse_if_busy(std::int64_t prompt_tokens);
  bool take_requests();
  void take_cancels(const std::vector<RequestId>& cancels);
  void take_pauses(const std::vector<std::pair<RequestId, bool>>& pauses);
  /// Of those that wait or run; nullptr if it is none of them.
  std::shared_ptr<Sequence> find(RequestId id) const;
  /// The last event of a request. Idempotent.
  void end(Sequence& sequence, TokenEvent event);
  void count_end(const Sequence& sequence, FinishReason reason);
  void hand_on_state(Sequence& sequence, FinishReason reason);
  void end_all(const std::vector<std::shared_ptr<Sequence>>& sequences, FinishReason reason, std::string_view error);
  void run(const std::stop_token& stop);
  void shut_down();
  EngineStats stats() const;

  const Model& model_;
  Backend& backend_;
  const EngineOptions options_;
  const EngineMemory memory_;
  StatePool pool_;
  PrefixCache cache_;
  Workspace workspace_;
  Buffer logits_;  // [logit_rows, vocab]; a step's are read by its own `sample`, before the next step's are written
  std::vector<SampleBuffers> sample_buffers_;  // one a step in flight
  std::size_t next_buffers_ = 0;
  const std::uint64_t run_keys_;  // the first of this engine's keys of Backend::run, one a number of sequences

  // Of the engine's thread.
  Scheduler scheduler_;
  StepPace pace_;
  std::map<std::pair<std::int64_t, RequestId>, std::shared_ptr<Sequence>> waiting_;  // also parked; in order
  std::map<RequestId, std::shared_ptr<Sequence>> running_;                           // known to the scheduler
  std::deque<StepInFlight> in_flight_;                                               // oldest first
  /// What there was when the first of those that wait couldn't start. Nothing is tried again before there is more.
  struct Blocked {
    RequestId request = 0;
    std::int64_t free_slots = 0, free_pages = 0, running = 0;
  } blocked_;
  EngineStats counters_;  // what the engine's thread counts
  std::chrono::steady_clock::time_point last_collected_ = {};

  // The batch that is being enqueued, and the samples being collected; kept so that a step allocates little.
  std::vector<TokenId> tokens_;
  std::vector<SequenceRows> rows_;
  std::vector<std::int32_t> logit_rows_;
  std::vector<SamplingRow> sampling_rows_;
  std::vector<std::uint32_t> masks_;  // [max_sequences, mask_words]
  std::size_t masks_used_ = 0;
  std::vector<std::int32_t> sampled_;  // tokens, then bits of their log probabilities
  std::vector<TokenId> sampled_top_ids_;
  std::vector<float> sampled_top_logprobs_;
  std::vector<PromptLogprob> prompt_logprobs_;

  // Shared by all threads, under mutex_.
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<std::shared_ptr<Sequence>> submitted_;
  std::vector<RequestId> cancelled_;
  std::vector<std::pair<RequestId, bool>> pauses_;
  RequestId last_id_ = 0;
  std::int64_t active_ = 0;
  std::int64_t queued_ = 0, queued_tokens_ = 0;  // not started
  std::int64_t refused_ = 0;
  EngineStats published_;  // counters_ as of the last step
  bool closed_ = false;
};

}  // namespace strata
