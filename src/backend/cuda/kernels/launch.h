// How kernels are launched: on one stream, each allowed to begin before the one before it has ended.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backend/cuda/cuda_check.h"

namespace strata::cuda {

/// Where a backend's kernels go.
struct Launch {
  cudaStream_t stream{};
  bool overlap = true;  // programmatic dependent launch: a kernel's blocks may come before its predecessor is done
  int processors = 1;   // multiprocessors of the GPU
  std::int64_t* launches = nullptr;  // counted here, if anywhere
};

#ifdef __CUDACC__
/// What every kernel does before it touches anything that another kernel wrote: waits until all kernels before it are
/// done, and lets the next one's blocks come. Before it only weights may be read.
__device__ inline void wait_for_predecessors() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Launches and checks. `name` is the kernel's, for the error.
template <class... P, class... A>
void launch(const Launch& to, const char* name, void (*kernel)(P...), dim3 grid, unsigned threads, std::size_t shared,
            A... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = to.stream;
  config.attrs = &attribute;
  config.numAttrs = to.overlap ? 1 : 0;
  if (to.launches) ++*to.launches;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), name, __FILE__, __LINE__);
}
#endif

}  // namespace strata::cuda
