// What an engine will take of this machine's memory, known before a weight is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/engine.h"
#include "model/checkpoint_weights.h"
#include "model/weight_source.h"

namespace strata {

/// Bytes, and what they allow.
struct MemoryPlan {
  std::int64_t weights = 0;    // in the backend's layout
  std::int64_t state = 0;      // recurrent state, all slots
  std::int64_t kv = 0;         // pages of keys and values
  std::int64_t workspace = 0;  // of a step: activations, logits, samples
  std::int64_t scratch = 0;    // of the backend's own
  std::int64_t program = 0;    // allowance for all else: code, tokenizer, buffers while loading
  std::int64_t available = 0;

  /// As the options ask, with keys and values for all of every sequence's context; 0 if not even 1 fits.
  std::int64_t largest_context = 0;    // for the asked number of sequences
  std::int64_t largest_sequences = 0;  // for the asked context

  std::int64_t total() const { return weights + state + kv + workspace + scratch + program; }
  bool fits() const { return total() <= available; }
};

/// MemoryPlan::program.
inline constexpr std::int64_t kProgramAllowance = 128 << 20;

/// `model` may be a skeleton bound to a WeightList. Throws Error{usage} for a context or a number of sequences outside
/// what an engine takes. Sums that exceed 2^60 are given as 2^60.
MemoryPlan plan_memory(std::int64_t weight_bytes, const Model& model, const Backend& backend,
                       const EngineOptions& options, std::int64_t available);

/// What the weights that a binding asked for will take on `backend`, from the checkpoint's headers. Throws
/// Error{bad_model} as loading would.
std::int64_t weight_bytes(const std::vector<WeightRequest>& requests, CheckpointWeights& weights,
                          const Backend& backend);

/// Bytes that this process may still take without swapping: what the kernel estimates (MemAvailable), or what is left
/// of a control group's limit if that is less; files that a group has cached count as left. `root` stands for "/".
std::int64_t available_memory(const std::filesystem::path& root = "/");

}  // namespace strata
