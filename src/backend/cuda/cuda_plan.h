// What a backend's scratch memory holds, and where.
#pragma once

#include "backend/backend.h"

namespace strata {

/// Offsets into the scratch memory that `reserve` takes.
struct CudaPlan {
  std::int64_t bytes = 0;
  std::int64_t batch, batch_bytes;  // the staged batch
  std::int64_t samples;             // SampleRow of each logit row
  std::int64_t maxima;              // of blocks of logits
  std::int64_t rounded[4], rounded_stride;
  std::int64_t pairs, item_expert, item_first, item_count, items;
  std::int64_t hidden, hidden_stride;          // bf16 [tokens * experts_per_token, stride]
  std::int64_t expert_out, expert_out_stride;  // f32 [tokens * experts_per_token, stride]
  std::int64_t expert_out_bytes;               // of that place, which is a scan's while no expert is at work
  std::int64_t counters;                       // u32, all 0 between kernels: the router's, then attention's
  std::int64_t attention_values, attention_sums, attention_rows, attention_blocks;

  /// `fast`: with room for what the scan of fast numerics leaves between its kernels.
  explicit CudaPlan(const WorkLimits& limits, bool fast = false);
};

/// Rows that attention splits over blocks of keys: more of them fill the GPU by themselves.
inline constexpr std::int64_t kSplitRows = 64;
/// The largest vocabulary that the sampler keeps maxima for.
inline constexpr std::int64_t kMostVocab = std::int64_t{1} << 19;

}  // namespace strata
