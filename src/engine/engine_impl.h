// What the engine keeps: requests that wait, sequences that run, steps in flight.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace strata {

/// A request from submit to its last event. Shared by the steps that have rows of it: so its slot and pages are neither
/// freed nor reused before the last of them is done, whatever became of the request.
struct Sequence {
  RequestId id = 0;
  Request request;
  std::optional<SequenceState> state;  // since it was admitted, or brought along
  std::vector<TokenId> answer;         // tokens that are known on the host
  std::int64_t enqueued = 0;           // tokens that steps were asked for; those of the last few aren't known yet
  std::int64_t limit = 0;              // tokens that the answer may have
  bool ended = false;

  /// Whether a step must wait for the token of the one before: penalties read it, and a state that is handed out must
  /// not have gone past the answer's end.
  bool needs_last_token() const { return request.sampling.needs_history() || request.on_state; }
  /// Tokens that its state reaches: the last one of the answer isn't fed back.
  std::int64_t length_at_end() const {
    return static_cast<std::int64_t>(request.prompt.size()) + std::max<std::int64_t>(limit - 1, 0);
  }
};

/// Where the samples of one step go, in the backend's memory.
struct SampleBuffers {
  Buffer tokens, logprobs, top_ids, top_logprobs;
};

/// A step whose tokens haven't been collected.
struct StepInFlight {
  std::vector<std::shared_ptr<Sequence>> sequences;  // all that have rows in it
  std::vector<std::shared_ptr<Sequence>> sampled;    // of the logit rows, in order
  std::size_t buffers = 0;                           // index into sample_buffers_
  std::uint64_t mark = 0;
};

struct Engine::Impl {
  Impl(const Model& model, Backend& backend, const EngineOptions& options);

  // The loop (engine.cpp).
  bool step();
  void admit();
  bool enqueue();
  void forward(const std::vector<ScheduledRows>& plan, StepInFlight& step);
  void build_batch(const std::vector<ScheduledRows>& plan, StepInFlight& step);
  void collect();
  void download(const StepInFlight& step);
  void deliver(Sequence& sequence, std::size_t row);

  // Requests (engine_requests.cpp).
  RequestId submit(Request request);
  void validate(const Request& request) const;
  bool take_requests();
  void take_cancels(const std::vector<RequestId>& cancels);
  /// The last event of a request. Idempotent.
  void end(Sequence& sequence, TokenEvent event);
  void end_all(const std::vector<std::shared_ptr<Sequence>>& sequences, FinishReason reason, std::string_view error);
  void run(const std::stop_token& stop);
  void shut_down();

  const Model& model_;
  Backend& backend_;
  const EngineOptions options_;
  StatePool pool_;
  Workspace workspace_;
  Buffer logits_;  // [max_sequences, vocab]; a step's are read by its own `sample`, before the next step's are written
  std::vector<SampleBuffers> sample_buffers_;  // one a step in flight
  std::size_t next_buffers_ = 0;
  const std::uint64_t run_keys_;  // the first of this engine's keys of Backend::run, one a number of sequences

  // Of the engine's thread.
  Scheduler scheduler_;
  std::deque<std::shared_ptr<Sequence>> waiting_;           // in order of arrival
  std::map<RequestId, std::shared_ptr<Sequence>> running_;  // known to the scheduler
  std::deque<StepInFlight> in_flight_;                      // oldest first

  // The batch that is being enqueued, and the samples being collected; kept so that a step allocates little.
  std::vector<TokenId> tokens_;
  std::vector<SequenceRows> rows_;
  std::vector<std::int32_t> logit_rows_;
  std::vector<SamplingRow> sampling_rows_;
  std::vector<TokenId> sampled_tokens_, sampled_top_ids_;
  std::vector<float> sampled_logprobs_, sampled_top_logprobs_;

  // Shared by all threads, under mutex_.
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<std::shared_ptr<Sequence>> submitted_;
  std::vector<RequestId> cancelled_;
  RequestId last_id_ = 0;
  std::int64_t active_ = 0;
  bool closed_ = false;
};

}  // namespace strata
