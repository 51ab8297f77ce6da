#include "backend/cuda/kernels/launch.h"
#include "backend/cuda/kernels/packed.h"
#include "backend/cuda/kernels/primitives.cuh"

namespace strata::gpu_check {
namespace {

__device__ std::uint64_t mixed(std::uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

__global__ void fill_kernel(unsigned* words, std::int64_t count, cuda::Format format, float spread,
                            std::uint64_t seed) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::uint64_t bits = mixed(seed * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(i));
    if (format == cuda::Format::nvfp4) {
      unsigned scales = 0;
      for (int b = 0; b < 4; ++b) scales |= (64 + (bits >> (b * 8) & 0xff) % 24) << (8 * b);
      words[i] = i % 144 < 128 ? static_cast<unsigned>(bits) : scales;
    } else {
      const auto uniform = [&](unsigned v) { return (static_cast<float>(v) * 0x1p-31f - 1.0f) * spread; };
      words[i] = cuda::pack_bf16x2(uniform(static_cast<unsigned>(bits)), uniform(static_cast<unsigned>(bits >> 32)));
    }
  }
}

}  // namespace

void fill_tiles(const cuda::Launch& to, std::byte* tiles, std::int64_t bytes, cuda::Format format, float spread,
                std::uint64_t seed) {
  fill_kernel<<<4096, 256, 0, to.stream>>>(reinterpret_cast<unsigned*>(tiles), bytes / 4, format, spread, seed);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace strata::gpu_check
