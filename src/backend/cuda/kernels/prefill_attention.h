// Attention for prompts, with the bits of attention.h: eight tokens share the keys that a block has brought.
#pragma once

#include "backend/cuda/kernels/attention.h"

namespace strata::cuda {

/// Fewest new tokens of a sequence that `prefill_attention` takes; it leaves the rows of others.
inline constexpr std::int32_t kPrefillSequenceRows = 8;

/// Whether there is a kernel for such a cache and rows.
inline bool fits_prefill_attention(const Cache& cache, ConstRows q, ConstRows out) {
  return cache.head_dim == 128 && cache.page_size == 64 && q.stride % 4 == 0 && out.stride % 2 == 0 &&
         reinterpret_cast<std::uintptr_t>(q.data) % 16 == 0 && reinterpret_cast<std::uintptr_t>(out.data) % 8 == 0;
}

/// `spans`: of the batch. The result goes to `rounded` as well. `fast`: weights of the values are rounded to bf16, and
/// relative to the largest score so far.
void prefill_attention(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows q, std::int64_t heads,
                       const Cache& cache, float scale, Rows out, RoundedRows rounded, bool fast);

}  // namespace strata::cuda
