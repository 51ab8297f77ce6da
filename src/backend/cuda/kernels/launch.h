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
  bool wide = false;                 // the kernels of prompts with Hopper's wide matrix instruction may be used
};

#ifdef __CUDACC__
/// What every kernel does before it touches what the kernel before it wrote: waits until all kernels before it are
/// done, and lets the next one's blocks come. Before it weights may be read; and, past the first-level cache (__ldcg),
/// what was written by the last kernel but one or earlier, which the last one had waited for.
__device__ inline void wait_for_predecessors() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Launches and checks; `cluster` neighbours in grid.x are one cluster. `name` is the kernel's, for the error.
template <class... P, class... A>
void launch_clusters(const Launch& to, const char* name, void (*kernel)(P...), dim3 grid, unsigned cluster,
                     unsigned threads, std::size_t shared, A... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = cluster;
    attributes[count].val.clusterDim.y = attributes[count].val.clusterDim.z = 1;
    ++count;
  }
  if (to.overlap) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = to.stream;
  config.attrs = attributes;
  config.numAttrs = count;
  if (to.launches) ++*to.launches;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), name, __FILE__, __LINE__);
}
template <class... P, class... A>
void launch(const Launch& to, const char* name, void (*kernel)(P...), dim3 grid, unsigned threads, std::size_t shared,
            A... arguments) {
  launch_clusters(to, name, kernel, grid, 1, threads, shared, arguments...);
}
#endif

}  // namespace strata::cuda
