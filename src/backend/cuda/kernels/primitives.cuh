// Single instructions, and the reductions of a warp and a block, each in one fixed order.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace strata::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

/// c += a b: a 16 x 16 (rows of weights), b 16 x 8 (tokens), c 16 x 8 in float32.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// Two bf16 products at once; keeps subnormals.
__device__ __forceinline__ unsigned multiply_bf16x2(unsigned a, unsigned b) {
  unsigned d;
  asm("mul.bf16x2 %0,%1,%2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
__device__ __forceinline__ unsigned rotate_left(unsigned x, int bits) { return __funnelshift_l(x, x, bits); }
/// Weights: read once, so they needn't stay in the first-level cache.
__device__ __forceinline__ uint4 load_streaming(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3},[%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
/// {lo, hi} rounded to bf16, lo in the low half.
__device__ __forceinline__ unsigned pack_bf16x2(float lo, float hi) {
  unsigned d;
  asm("cvt.rn.bf16x2.f32 %0,%1,%2;" : "=r"(d) : "f"(hi), "f"(lo));
  return d;
}
__device__ __forceinline__ std::uint16_t bits_of_bf16(float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
__device__ __forceinline__ float float_of_bf16(std::uint16_t bits) { return __uint_as_float(unsigned{bits} << 16); }

/// The sum over a warp, the same in every lane.
__device__ __forceinline__ float warp_sum(float v) {
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(kAllLanes, v, step);
  return v;
}
/// The sum over a block of up to 32 warps, the same in every thread. `scratch`: 33 floats of shared memory.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
  v = warp_sum(v);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    const float sum = warp_sum(threadIdx.x < blockDim.x / 32 ? scratch[threadIdx.x] : 0.0f);
    if (threadIdx.x == 0) scratch[32] = sum;
  }
  __syncthreads();
  return scratch[32];
}

__device__ __forceinline__ float silu(float v) { return v / (1.0f + expf(-v)); }

}  // namespace strata::cuda
