// What the products of prompts have in common: tiles that are in shared memory, and sums on their way out.
#pragma once

#include "backend/cuda/kernels/linear.h"
#include "backend/cuda/kernels/tiles.cuh"

namespace strata::cuda {

/// Where sums are turned around: so many tokens at a time, floats from one to the next.
inline constexpr int kTurnedTokens = 32, kTurned = 68;

/// A lane's part of a tile that lies in shared memory.
template <Format F>
__device__ __forceinline__ Tile<F> read_tile(const std::byte* tile, int lane) {
  Tile<F> t;
  const auto part = [&](int i) { return *reinterpret_cast<const uint4*>(tile + i * 512 + lane * 16); };
  if constexpr (F == Format::nvfp4) {
    t.codes = part(0);
    t.scales = *reinterpret_cast<const std::uint16_t*>(tile + 512 + lane * 2);
  } else if constexpr (F == Format::fp8) {
    const uint4 lo = part(0), hi = part(1);
    t.words[0] = lo.x, t.words[1] = lo.y, t.words[2] = lo.z, t.words[3] = lo.w;
    t.words[4] = hi.x, t.words[5] = hi.y, t.words[6] = hi.z, t.words[7] = hi.w;
  } else {
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) t.words[kb] = part(kb);
  }
  return t;
}

__device__ __forceinline__ float activated(float v, bool relu_squared) {
  if (!relu_squared) return v;
  v = v > 0 ? v : 0;
  return v * v;
}

/// Sums of some tokens of one warpgroup, turned around to rows of 64 features, on their way out. `rows`: where each
/// goes; null: from `first` on.
__device__ __forceinline__ void store_rows(const LinearOutput& to, const float* turned, const int* rows,
                                           std::int64_t first, int count, std::int64_t first_feature,
                                           std::int64_t features) {
  const int thread = threadIdx.x % 128, part = thread % 16 * 4;
  const bool whole = first_feature + 64 <= features;
  const bool wide = whole && to.out && to.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(to.out) % 16 == 0;
#pragma unroll 1  // the code is there once for each kTurnedTokens tokens
  for (int token = thread / 16; token < min(count, kTurnedTokens); token += 8) {
    const std::int64_t row = rows ? rows[token] : first + token;
    const float* sums = turned + token * kTurned;
    if (to.out) {
      float* out = to.out + row * to.stride + first_feature + part;
      const float4 v = *reinterpret_cast<const float4*>(sums + part);
      if (wide) {
        *reinterpret_cast<float4*>(out) = v;
      } else {
        const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (first_feature + part + i < features) out[i] = values[i];
      }
    }
    if (!to.rounded) continue;
    std::uint16_t* rounded = to.rounded + row * to.rounded_stride + first_feature;
    if (whole && to.interleaved) {  // four places in a row hold two pairs of columns, 16 apart
      const int column = deinterleaved(part);
      const float2 lo = *reinterpret_cast<const float2*>(sums + column);
      const float2 hi = *reinterpret_cast<const float2*>(sums + column + 16);
      *reinterpret_cast<uint2*>(rounded + part) = {pack_bf16x2(lo.x, lo.y), pack_bf16x2(hi.x, hi.y)};
    } else {
      for (int i = part; i < part + 4; ++i)
        if (first_feature + i < features) rounded[to.interleaved ? interleaved(i) : i] = bits_of_bf16(sums[i]);
    }
  }
}

}  // namespace strata::cuda
