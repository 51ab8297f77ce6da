// What an engine refuses to be, and what it takes when it is made.
#include <algorithm>
#include <atomic>
#include <string>

#include "base/error.h"
#include "engine/engine_impl.h"

namespace strata {

void refuse(const std::string& message) { throw Error(ErrorCode::usage, message); }

void require_range(const char* field, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (low <= value && value <= high) return;
  refuse(std::string(field) + " is " + std::to_string(value) + "; it must be from " + std::to_string(low) + " to " +
         std::to_string(high));
}

namespace {

constexpr std::int64_t kMost = 1 << 20;         // of sequences, slots and tokens in a step
constexpr std::int64_t kMostTokens = 1L << 40;  // of keys and values

/// The options, if they can be.
const EngineOptions& checked(const EngineOptions& options, const Model& model) {
  require_range("max_sequences", options.max_sequences, 1, kMost);
  require_range("context", options.context, 1, model.max_context());
  require_range("kv_tokens", options.kv_tokens, 0, kMostTokens);
  require_range("chunk", options.chunk, options.max_sequences, kMost);
  require_range("mixed_chunk", options.mixed_chunk, 0, kMost);
  if (options.logit_rows != 0) require_range("logit_rows", options.logit_rows, options.max_sequences, kMost);
  require_range("spare_slots", options.spare_slots, 0, kMost);
  require_range("steps_in_flight", options.steps_in_flight, 1, 8);
  require_range("max_queue", options.max_queue, 0, kMostTokens);
  require_range("max_queued_tokens", options.max_queued_tokens, 0, kMostTokens);
  if (options.kv_type != DType::bf16 && options.kv_type != DType::f8_e4m3) {
    refuse("kv_type is " + std::string(name_of(options.kv_type)) + "; it must be bf16 or fp8");
  }
  return options;
}

std::vector<SampleBuffers> allocate_sample_buffers(Backend& backend, const EngineOptions& options,
                                                   const EngineMemory& memory) {
  std::vector<SampleBuffers> buffers;
  for (int i = 0; i < options.steps_in_flight; ++i) {
    buffers.push_back({backend.allocate(memory.chosen_bytes), backend.allocate(memory.alternatives_bytes),
                       backend.allocate(memory.alternatives_bytes)});
  }
  return buffers;
}

/// Engines on one backend have different memory, so that none may replay what another recorded.
std::uint64_t next_run_keys() {
  static std::atomic<std::uint64_t> engines{0};
  return ++engines << 32;
}

}  // namespace

Engine::Impl::Impl(const Model& model, Backend& backend, const EngineOptions& options)
    : model_(model),
      backend_(backend),
      options_(checked(options, model)),
      memory_(engine_memory(model, options_)),
      pool_(backend, {model.state_shape(), backend.state_types(options.kv_type)}, memory_.slots, memory_.pages),
      cache_(pool_),
      workspace_(backend, memory_.workspace_bytes),
      logits_(backend.allocate(memory_.logits_bytes)),
      sample_buffers_(allocate_sample_buffers(backend, options_, memory_)),
      run_keys_(next_run_keys()),
      scheduler_({options.chunk, 0, memory_.logit_rows}, options.max_sequences),
      pace_(options.mixed_chunk > 0 ? std::min(options.mixed_chunk, options.chunk) : options.chunk),
      masks_(static_cast<std::size_t>(options.max_sequences) * mask_words(model.vocab_size())) {
  backend.reserve(memory_.limits);
  publish();
}

}  // namespace strata
