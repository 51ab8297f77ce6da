// The router's two halves, for a warp each: a product with one row, and the choice of one token's experts.
#pragma once

#include "backend/cuda/kernels/moe.h"
#include "backend/cuda/kernels/primitives.cuh"

namespace strata::cuda {

/// The most experts that `choose_experts` chooses among.
inline constexpr int kFewExperts = 256;

/// sum += the products of four columns, in order.
__device__ __forceinline__ float add_products(float sum, const float4& x, const float4& w) {
  sum = fmaf(x.x, w.x, sum);
  sum = fmaf(x.y, w.y, sum);
  sum = fmaf(x.z, w.z, sum);
  return fmaf(x.w, w.w, sum);
}

__device__ __forceinline__ float router_score(float logit) { return 1.0f / (1.0f + expf(-logit)); }
/// What experts are chosen by; one that is not a number comes last.
__device__ __forceinline__ float biased_score(float score, float bias) {
  const float b = score + bias;
  return isnan(b) ? -INFINITY : b;
}

/// One token's choice among up to 32 kLaneExperts experts of one group, by a warp in its registers. Lane e % 32 holds
/// expert e; `logit(e)` gives its logit. Calls put(place, expert, weight) in the lane that holds a chosen one.
template <int kLaneExperts, class Logit, class Put>
__device__ void choose_experts(const RouterShape& shape, const float* bias, Logit&& logit, Put&& put) {
  const int n = static_cast<int>(shape.experts), lane = threadIdx.x % 32;
  float score[kLaneExperts];
  unsigned key[kLaneExperts];  // ordered as the biased scores; 0: taken, or no expert
#pragma unroll
  for (int i = 0; i < kLaneExperts; ++i) {
    const int e = lane + 32 * i;
    score[i] = 0, key[i] = 0;
    if (e >= n) continue;
    score[i] = router_score(logit(e));
    const unsigned bits = __float_as_uint(biased_score(score[i], bias[e]) + 0.0f);  // one zero, not two
    key[i] = bits >> 31 ? ~bits : bits | 0x80000000u;
  }
  unsigned taken = 0;  // bit i: of the lane's
  for (int k = 0; k < static_cast<int>(shape.chosen); ++k) {
    unsigned best = 0;
#pragma unroll
    for (int i = 0; i < kLaneExperts; ++i) best = max(best, key[i]);
    const unsigned largest = __reduce_max_sync(kAllLanes, best);
    unsigned lowest = 0xffffffffu;
#pragma unroll
    for (int i = kLaneExperts - 1; i >= 0; --i)
      if (key[i] == largest) lowest = lane + 32 * i;
    lowest = __reduce_min_sync(kAllLanes, lowest);
#pragma unroll
    for (int i = 0; i < kLaneExperts; ++i)
      if (lowest == static_cast<unsigned>(lane + 32 * i)) key[i] = 0, taken |= 1u << i;
  }
  float total = 1e-20f;
  int before = 0, place[kLaneExperts];
#pragma unroll
  for (int i = 0; i < kLaneExperts; ++i) {
    unsigned chosen = __ballot_sync(kAllLanes, taken >> i & 1);
    place[i] = before + __popc(chosen & ((1u << lane) - 1));
    before += __popc(chosen);
    for (; chosen; chosen &= chosen - 1) {  // in ascending order of expert
      const float s = __shfl_sync(kAllLanes, score[i], __ffs(static_cast<int>(chosen)) - 1);
      if (shape.normalize) total += s;
    }
  }
#pragma unroll
  for (int i = 0; i < kLaneExperts; ++i)
    if (taken >> i & 1) put(place[i], lane + 32 * i, score[i] / (shape.normalize ? total : 1.0f) * shape.scaling);
}

}  // namespace strata::cuda
