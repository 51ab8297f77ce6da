// What an engine takes for its options: one answer for the engine itself and for the memory plan.
#pragma once

#include <cstdint>

#include "engine/engine.h"

namespace strata {

/// Bytes that exceed 2^60 are given as 2^60.
struct EngineMemory {
  std::int64_t slots = 0, pages = 0;
  std::int64_t logit_rows = 0;
  std::int64_t workspace_bytes = 0, logits_bytes = 0;
  std::int64_t chosen_bytes = 0;        // of a step: tokens, then their log probabilities
  std::int64_t alternatives_bytes = 0;  // of a step: ids or log probabilities of the alternatives, each
  WorkLimits limits;                    // of a step

  /// Of all steps in flight.
  std::int64_t sample_bytes(const EngineOptions& options) const;
};

EngineMemory engine_memory(const Model& model, const EngineOptions& options);

/// a * b, at most 2^60.
std::int64_t bounded_product(std::int64_t a, std::int64_t b);
inline constexpr std::int64_t kMostBytes = std::int64_t{1} << 60;

}  // namespace strata
