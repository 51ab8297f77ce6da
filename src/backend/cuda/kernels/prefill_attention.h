// Attention for prompts, with the bits of attention.h: eight tokens share the keys that a block has brought.
#pragma once

#include "backend/cuda/kernels/attention.h"

namespace strata::cuda {

/// Fewest new tokens of a sequence that `prefill_attention` takes; it leaves the rows of others.
inline constexpr std::int32_t kPrefillSequenceRows = 8;

/// Whether there is a kernel for such a cache.
constexpr bool fits_prefill_attention(const Cache& cache) { return cache.head_dim == 128 && cache.page_size == 64; }

/// `spans`: of the batch. The result goes to `rounded` as well. `fast`: weights of
/// the values are rounded to bf16.
void prefill_attention(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows q, std::int64_t heads,
                       const Cache& cache, float scale, Rows out, RoundedRows rounded, bool fast);

}  // namespace strata::cuda
