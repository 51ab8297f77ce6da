// Keys and values in pages, and attention over them.
#pragma once

#include "backend/cuda/kernels/rows.h"

namespace strata::cuda {

/// One layer's cache: [pages, 2, heads, page_size, head_dim].
struct Cache {
  std::byte* data = nullptr;
  bool fp8 = false;
  std::int32_t page_size = 0, heads = 0, head_dim = 0;
  float k_scale = 1, v_scale = 1;
};

/// The largest head that attention has a kernel for.
inline constexpr std::int64_t kMostHeadDim = 128;
/// Keys that one block of attention sums by itself, at absolute positions: 8 units of 128, one a warp.
inline constexpr std::int64_t kBlockKeys = 1024;

void append_kv(const Launch& to, DeviceBatch batch, std::int64_t rows, ConstRows k, ConstRows v, const Cache& cache);

/// Memory for partial results of `splits` splits a row: (max, sum) and values of every head and block of keys.
struct AttentionParts {
  float* values = nullptr;  // [rows, heads, blocks, head_dim]
  float2* sums = nullptr;   // [rows, heads, blocks]
};

/// `blocks`: at least as many blocks of keys as the longest sequence has. More than one block with `parts` given: a
/// block of the grid each, merged by a second kernel; else one after the other. The bits are the same. Rows of
/// sequences with more than `most_rows` new tokens are left as they are.
inline constexpr std::int32_t kAnyRows = 0x7fffffff;
void attention(const Launch& to, DeviceBatch batch, std::int64_t rows, ConstRows q, std::int64_t heads,
               const Cache& cache, float scale, std::int64_t blocks, const AttentionParts& parts, Rows out,
               std::int32_t most_rows = kAnyRows);

}  // namespace strata::cuda
