// Copies that the GPU makes by itself, told when they are done and when their place is free by barriers in shared
// memory (PTX, mbarrier, cp.async.bulk): one warp asks for them, others use what came.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace strata::cuda {

#if __CUDA_ARCH__ >= 900

/// Addresses are of shared memory, as __cvta_generic_to_shared gives them.
__device__ __forceinline__ void barrier_init(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0],%1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// After the barriers of a block are made, before the cluster's blocks meet.
__device__ __forceinline__ void barriers_are_made() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// One arrival, with `bytes` of copies to come.
__device__ __forceinline__ void barrier_expect(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _,[%0],%1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// One arrival at the barrier of block `rank` of the cluster. It orders what the matrix unit and this warp have read,
/// not what was written: with `.release.cluster` it would wait for all of memory.
__device__ __forceinline__ void barrier_arrive(unsigned barrier, unsigned rank) {
  asm volatile(
      "{.reg .u32 there; mapa.shared::cluster.u32 there,%0,%1; mbarrier.arrive.shared::cluster.b64 _,[there];}" ::"r"(
          barrier),
      "r"(rank)
      : "memory");
}
/// Waits for the end of a barrier's phase, 0 and 1 by turns.
__device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned phase) {
  asm volatile(
      "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done,[%0],%1;\n@done bra "
      "DONE;\nbra AGAIN;\nDONE:\n}" ::"r"(barrier),
      "r"(phase)
      : "memory");
}
/// Copies a box of `map` that begins at (column, row) to the same place of every block of the cluster in `blocks`, and
/// counts its bytes at each one's `barrier`.
__device__ __forceinline__ void copy_box(unsigned shared, const CUtensorMap& map, int column, int row, unsigned barrier,
                                         unsigned blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0],[%1,{%2,%3}],[%4],%5;" ::"r"(shared),
      "l"(&map), "r"(column), "r"(row), "r"(barrier), "h"(static_cast<std::uint16_t>(blocks))
      : "memory");
}
/// The same for this block alone, of three coordinates.
__device__ __forceinline__ void copy_box(unsigned shared, const CUtensorMap& map, int column, int row, int matrix,
                                         unsigned barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0],[%1,{%2,%3,%4}],[%5];" ::"r"(
          shared),
      "l"(&map), "r"(column), "r"(row), "r"(matrix), "r"(barrier)
      : "memory");
}
/// Waits for the other threads, `count` in all, that name the same barrier (1 to 15).
__device__ __forceinline__ void named_barrier(int name, int count) {
  asm volatile("bar.sync %0,%1;" ::"r"(name), "r"(count) : "memory");
}

#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
/// A warpgroup gives registers back, or takes them; kRegisters: a thread's, a multiple of 8.
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
#endif

}  // namespace strata::cuda
