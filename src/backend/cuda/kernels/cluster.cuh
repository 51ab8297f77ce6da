// Blocks of a cluster: their common barrier, and reading each other's shared memory.
#pragma once

#include <cstdint>

namespace strata::cuda {

__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank;
  asm volatile("mov.u32 %0,%%cluster_ctarank;" : "=r"(rank));
  return rank;
}
/// What was written before is seen by every thread of the cluster after its `cluster_wait`.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
/// The same where nothing was written that others read: it waits for no write to be done.
__device__ __forceinline__ void cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

/// What block `rank` of the cluster has where `mine` lies in this block's shared memory.
__device__ __forceinline__ float read_shared(const float* mine, unsigned rank) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(mine));
  float value;
  asm volatile("{.reg .u32 there; mapa.shared::cluster.u32 there,%1,%2; ld.shared::cluster.f32 %0,[there];}"
               : "=f"(value)
               : "r"(at), "r"(rank));
  return value;
}

}  // namespace strata::cuda
