// The loop: requests in, tokens out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

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
  std::int64_t spare_slots = 0;    // recurrent slots for states that are handed out or forked
  int steps_in_flight = 1;         // steps enqueued before the first one's tokens are on the host, 1 to 8
  DType kv_type = DType::bf16;     // bf16 or f8_e4m3
};

/// One thread owns model, pool and backend: the one that calls `run` or `step`. submit, cancel and active may be called
/// from any thread. Answers depend on neither options nor neighbours (as far as the backend's ops don't).
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
  /// bad sampling, a state that isn't a beginning of the prompt), Error{failure} while the engine is being destroyed.
  /// Requests start in order, each when a sequence, a slot and pages for its whole length are free.
  RequestId submit(Request request);
  /// Its on_token gets FinishReason::cancelled, unless it has ended; never before submit has returned its id.
  void cancel(RequestId request);

  /// Runs until asked to stop; sleeps while there is nothing to do.
  void run(const std::stop_token& stop);
  /// One turn of the loop; false if there was nothing to do.
  bool step();

  /// Requests that were submitted and haven't ended.
  std::int64_t active() const;
  /// For fork and acquire, on the engine's thread or while it isn't running.
  StatePool& pool();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata
