// What the kernels of a scan by chunks share: where they leave what they make, and products in float16.
#pragma once

#include <cuda_fp16.h>

#include "backend/cuda/kernels/prefill_scan.h"
#include "backend/cuda/kernels/primitives.cuh"

namespace strata::cuda::ssd {

inline constexpr int kChunk = 128, kN = 128, kP = 64, kThreads = 256;
/// Heads that a block makes outputs of, all of one group; rows of the state that a block keeps.
inline constexpr int kHeads = 4, kRows = 32;
/// float16 from one row to the next in shared memory: each begins 4 banks further on.
inline constexpr int kWide = kN + 8;

/// Where the three kernels leave what they make. Rows are those of the step; places are chunks: `place_of`.
struct Memory {
  __half* xBC;      // [rows, channels]
  float *c, *e;     // [heads, rows]: c; c - log2 dt + the chunk's shift
  __half* states;   // [places, heads, kP, kN], scaled
  float* of_state;  // [places, heads, 2]: what undoes it, by half of the rows
  float* shifts;    // [places, heads]: log2 of what dt is divided by
  std::int64_t channels, rows;
};
__device__ __forceinline__ std::int64_t place_of(const DeviceSequence& s, int sequence, int chunk) {
  return s.first_row / kChunk + sequence + chunk;
}

__device__ __forceinline__ float exp2_of(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(v));
  return r;
}
__device__ __forceinline__ unsigned pack_half2(float lo, float hi) {
  unsigned d;
  asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(d) : "f"(hi), "f"(lo));
  return d;
}
__device__ __forceinline__ float2 floats_of(unsigned both) {
  return __half22float2(*reinterpret_cast<const __half2*>(&both));
}
__device__ __forceinline__ unsigned multiply_half2(unsigned a, unsigned b) {
  unsigned d;
  asm("mul.rn.f16x2 %0,%1,%2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
/// sum += a b: a 16 x 16, b 16 x 8.
__device__ __forceinline__ void multiply_half(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// Four 8 x 8 blocks, as they lie or turned around; lane 8 i + r points to row r of block i.
__device__ __forceinline__ void load_blocks(unsigned (&to)[4], const __half* at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(at))));
}
__device__ __forceinline__ void load_turned(unsigned (&to)[4], const __half* at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(at))));
}

__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(to), "l"(global), "r"(there ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copy_async_float(float* shared, const float* global, bool there) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0],[%1],4,%2;" ::"r"(to), "l"(global), "r"(there ? 4 : 0) : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

/// The outputs of all chunks, from what the other kernels left in `memory`. `spans`: of the batch.
void launch_outputs(const Launch& to, DeviceBatch batch, std::int64_t spans, const float* D, const ScanShape& shape,
                    const Memory& memory, Rows out);

}  // namespace strata::cuda::ssd
