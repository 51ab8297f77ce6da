// A block makes 32 features of 32 tokens. As in linear_f32_kernel a lane sums its own columns, four together and 128
// apart, then a warp's lanes are summed 16 apart, 8, 4, 2 and 1; so a warp has 32 sums of every output under way. What
// a round of 128 columns reads comes to shared memory a few rounds ahead.
#include "backend/cuda/kernels/prefill_router.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "backend/cuda/kernels/router.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

constexpr int kThreads = 256, kTokens = 32, kFeatures = 32, kRound = 128;
/// Of a warp: tokens and features.
constexpr int kWarpTokens = 8, kWarpFeatures = 16;
constexpr int kStages = 3;
static_assert(kTokens / kWarpTokens * (kFeatures / kWarpFeatures) == kThreads / 32);

struct Round {
  float4 x[kTokens][kRound / 4], w[kFeatures][kRound / 4];
};

__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(to), "l"(global), "r"(there ? 16 : 0) : "memory");
}

/// Sums lanes kApart apart, of which each keeps half of its 8 kApart values: after all steps those of outputs 4 lane
/// ...
template <int kApart>
__device__ __forceinline__ void halve(float (&sums)[kWarpTokens * kWarpFeatures], int lane) {
  const bool upper = lane & kApart;
#pragma unroll
  for (int i = 0; i < 4 * kApart; ++i) {
    const float kept = upper ? sums[i + 4 * kApart] : sums[i], sent = upper ? sums[i] : sums[i + 4 * kApart];
    sums[i] = kept + __shfl_xor_sync(kAllLanes, sent, kApart);
  }
}

__global__ void __launch_bounds__(kThreads, 1)
    prefill_router_kernel(ConstRows x, const float* w, std::int64_t rows, int cols, int features, Rows out) {
  extern __shared__ float4 memory[];
  Round* stages = reinterpret_cast<Round*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int token_at = warp / 2 * kWarpTokens, feature_at = warp % 2 * kWarpFeatures;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kTokens;
  const int first_feature = static_cast<int>(blockIdx.x) * kFeatures;
  const int rounds = (cols + kRound - 1) / kRound;
  wait_for_predecessors();
  // A warp copies four rows of each.
  const auto fetch = [&](int round, Round& to) {
    const int c = round * kRound + lane * 4;
    if (round < rounds)
#pragma unroll
      for (int i = 0; i < kTokens / 8; ++i) {
        const int r = warp + i * 8;
        const std::int64_t row = min(first_row + r, rows - 1);
        copy_async(&to.x[r][lane], x.data + row * x.stride + min(c, cols - 4), c < cols);
        const std::int64_t feature = min(first_feature + r, features - 1);
        copy_async(&to.w[r][lane], w + feature * cols + min(c, cols - 4), c < cols);
      }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  static_assert(kTokens == kFeatures);
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) fetch(i, stages[i]);

  float sums[kWarpTokens * kWarpFeatures] = {};
  for (int round = 0, stage = 0; round < rounds; ++round) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
    __syncthreads();
    fetch(round + kStages - 1, stages[stage == 0 ? kStages - 1 : stage - 1]);
    const Round& in = stages[stage];
    stage = stage + 1 == kStages ? 0 : stage + 1;
    float4 xs[kWarpTokens];
#pragma unroll
    for (int t = 0; t < kWarpTokens; ++t) xs[t] = in.x[token_at + t][lane];
#pragma unroll
    for (int f = 0; f < kWarpFeatures; ++f) {
      const float4 ws = in.w[feature_at + f][lane];
#pragma unroll
      for (int t = 0; t < kWarpTokens; ++t)
        sums[t * kWarpFeatures + f] = add_products(sums[t * kWarpFeatures + f], xs[t], ws);
    }
  }
  halve<16>(sums, lane), halve<8>(sums, lane), halve<4>(sums, lane), halve<2>(sums, lane), halve<1>(sums, lane);
  static_assert(kWarpFeatures == 16 && kWarpTokens * kWarpFeatures == 4 * 32);
  const std::int64_t row = first_row + token_at + lane / 4;
  const int feature = first_feature + feature_at + lane % 4 * 4;
  if (row >= rows) return;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (feature + i < features) out.data[row * out.stride + feature + i] = sums[i];
}

}  // namespace

bool fits_prefill_linear_f32(ConstRows x, const float* w, std::int64_t cols) {
  return cols % 4 == 0 && x.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 &&
         reinterpret_cast<std::uintptr_t>(w) % 16 == 0;
}

void prefill_linear_f32(const Launch& to, ConstRows x, const float* w, std::int64_t rows, std::int64_t cols,
                        std::int64_t features, Rows out) {
  CHECK(fits_prefill_linear_f32(x, w, cols), "an input of a router");
  constexpr int kBytes = kStages * static_cast<int>(sizeof(Round));
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_router_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
    return true;
  }();
  static_cast<void>(once);
  launch(to, "prefill_router_kernel", prefill_router_kernel,
         dim3(static_cast<unsigned>((features + kFeatures - 1) / kFeatures),
              static_cast<unsigned>((rows + kTokens - 1) / kTokens)),
         kThreads, kBytes, x, w, rows, static_cast<int>(cols), static_cast<int>(features), out);
}

}  // namespace strata::cuda
