// The loop: requests in, tokens out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

#include "engine/engine_stats.h"
#include "engine/request.h"
#include "engine/scheduler.h"
#include "model/model.h"
#include "state/state_pool.h"

namespace strata {

struct EngineOptions {
  std::int64_t max_sequences = 1;  // that run at a time; more wait
  std::int64_t context = 0;        // tokens a sequence may reach, prompt included; from 1 to the model's max_context
  std::int64_t kv_tokens = 0;      // tokens of keys and values in all; 0: max_sequences * context
  std::int64_t chunk = 512;        // tokens a step may have, at least max_sequences
  /// Prompt tokens that a step may have at most while some sequence decodes; 0: `chunk`. Within that, as many as keep
  /// the step short (StepPace): it is the gap between two tokens of a stream.
  std::int64_t mixed_chunk = 0;
  std::int64_t logit_rows = 0;   // rows of logits a step may have, at least max_sequences; 0: max_sequences
  std::int64_t spare_slots = 0;  // recurrent slots beyond max_sequences, for states that are remembered or handed out
  int steps_in_flight = 1;       // steps enqueued before the first one's tokens are on the host, 1 to 8
  DType kv_type = DType::bf16;   // bf16 or f8_e4m3
  std::int64_t max_queue = 0;    // requests that may wait beyond max_sequences; 0: any number
  std::int64_t max_queued_tokens = 0;  // of the prompts of those that haven't started; 0: any number
};

/// One thread owns model, pool and backend: the one that calls `run` or `step`. submit, cancel, pause, active and stats
/// may be called from any thread. Answers depend on neither options nor neighbours (as far as the backend's ops don't).
class Engine {
 public:
  /// Takes state, workspace and scratch; Error{out_of_memory} if they don't fit, Error{usage} for options that can't
  /// be.
  Engine(const Model& model, Backend& backend, const EngineOptions& options);
  /// Ends what is left as cancelled; nothing may be running `run` or `step`.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Throws Error{usage} if the request can never run (empty, unknown token, longer than the context or than all pages,
  /// bad sampling, a state that isn't a beginning of the prompt), Error{busy} if the queue is full, Error{failure}
  /// while the engine is being destroyed. Requests start in order of priority, then of arrival, each when a sequence, a
  /// slot and pages for its prompt are free. Pages of the answer are taken as it grows; where none is left, the
  /// sequence that comes last in that order is parked (its state is copied to host memory) and goes on later from the
  /// same bits: so a request that fits alone always finishes.
  RequestId submit(Request request);
  /// Its on_token gets FinishReason::cancelled in the next step, unless it has ended; never before submit has returned
  /// its id. What was remembered of it stays.
  void cancel(RequestId request);
  /// Takes a request out of the steps from the next one on, or puts it back; tokens of steps in flight still come. It
  /// goes on from the same bits. Meanwhile its slot and pages go to others that wait for some (it is parked, as long as
  /// no more than max_sequences are). Unknown ids are ignored.
  void pause(RequestId request, bool paused);

  /// Runs until asked to stop; sleeps while there is nothing to do.
  void run(const std::stop_token& stop);
  /// One turn of the loop; false if there was nothing to do.
  bool step();

  /// Requests that were submitted and haven't ended.
  std::int64_t active() const;
  EngineStats stats() const;
  /// For fork and acquire, on the engine's thread or while it isn't running.
  StatePool& pool();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata
