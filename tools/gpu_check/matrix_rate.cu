// The rate of Hopper's matrix unit with nothing else to do: 64 x 128 x 16 products of bf16, operands random, as prompts
// use them.
#include <algorithm>
#include <chrono>

#include "backend/cuda/kernels/launch.h"
#include "backend/cuda/kernels/wgmma.cuh"
#include "tools/gpu_check/device_weights.h"

namespace strata::gpu_check {
namespace {

constexpr int kThreads = 256, kRounds = 4096, kTokens = 128;

__global__ void __launch_bounds__(kThreads) rate_kernel(const std::byte* random, float* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __shared__ alignas(1024) uint4 tokens[kTokens * 8];
  for (int i = threadIdx.x; i < kTokens * 8; i += kThreads) tokens[i] = reinterpret_cast<const uint4*>(random)[i];
  const uint4 word = reinterpret_cast<const uint4*>(random)[threadIdx.x];
  unsigned a[4] = {word.x, word.y, word.z, word.w};
  cuda::fence_for_wgmma();
  __syncthreads();
  const std::uint64_t x = cuda::wgmma_rows(static_cast<unsigned>(__cvta_generic_to_shared(tokens)));
  float sum[kTokens / 2] = {};
  constexpr int kTogether = 8;
  for (int i = 0; i < kRounds; i += kTogether) {
    cuda::wgmma_fence();
#pragma unroll
    for (int j = 0; j < kTogether; ++j) cuda::wgmma<kTokens>(sum, a, x + static_cast<unsigned>(j % 4 * 2), 1);
    cuda::wgmma_commit();
    cuda::wgmma_wait<0>();
  }
  float all = 0;
  for (const float v : sum) all += v;
  out[blockIdx.x * kThreads + threadIdx.x] = all;
#endif
}

}  // namespace

double matrix_rate(CudaBackend& backend) {
  if (!backend.launch().wide) return 0;
  const cuda::Launch& to = backend.launch();
  const int blocks = to.processors * 4;
  const Buffer random = backend.allocate(kTokens * 128), out = backend.allocate(blocks * kThreads * 4);
  fill_tiles(to, random.get(), kTokens * 128, cuda::Format::bf16, 1.0f, 99);
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    backend.wait(backend.mark());
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < 8; ++k)
      rate_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, to.stream>>>(random.get(),
                                                                             reinterpret_cast<float*>(out.get()));
    CUDA_CHECK(cudaGetLastError());
    backend.wait(backend.mark());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::max(best, 8.0 * blocks * (kThreads / 128) * kRounds * 2.0 * 64 * kTokens * 16 / seconds);
  }
  return best;
}

}  // namespace strata::gpu_check
