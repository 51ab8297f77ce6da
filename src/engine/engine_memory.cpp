#include "engine/engine_memory.h"

#include <algorithm>

namespace strata {

std::int64_t bounded_product(std::int64_t a, std::int64_t b) {
  std::int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? kMostBytes : std::min(product, kMostBytes);
}

std::int64_t EngineMemory::sample_bytes(const EngineOptions& options) const {
  return bounded_product(chosen_bytes + 2 * alternatives_bytes, options.steps_in_flight);
}

EngineMemory engine_memory(const Model& model, const EngineOptions& options) {
  const std::int64_t sequences = options.max_sequences;
  EngineMemory memory;
  memory.slots = sequences + options.spare_slots;
  memory.pages = options.kv_tokens > 0 ? StateLayout::pages_for(options.kv_tokens)
                                       : bounded_product(sequences, StateLayout::pages_for(options.context));
  memory.logit_rows = std::max(options.logit_rows, sequences);
  memory.workspace_bytes = model.workspace_bytes(options.chunk, memory.logit_rows);
  memory.logits_bytes = bounded_product(memory.logit_rows, model.vocab_size() * size_of(DType::f32));
  memory.chosen_bytes = memory.logit_rows * (size_of(DType::i32) + size_of(DType::f32));
  memory.alternatives_bytes = memory.logit_rows * kMaxTopLogprobs * size_of(DType::f32);
  memory.limits = model.work_limits();
  memory.limits.tokens = options.chunk;
  memory.limits.logit_rows = memory.logit_rows;
  memory.limits.sequences = sequences;
  memory.limits.slots = memory.slots;
  memory.limits.context = options.context;
  return memory;
}

}  // namespace strata
