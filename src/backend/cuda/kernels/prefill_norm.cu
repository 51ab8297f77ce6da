// The norms of rows.cu, four columns at a time: small blocks, so that a multiprocessor has several rows under way and
// one's sums hide behind another's loads. A sum has the order that it has there: thread t of 1,024 (of 256 in the gated
// norm) adds the squares of columns t, t + 1024, ...; lanes are summed 16 apart, then 8, 4, 2 and 1; so are warps. Here
// a lane has four neighbouring t's, so the steps of 2 and 1 are within it.
#include "backend/cuda/kernels/prefill_norm.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

/// Columns of a pass over a row: of `kRowThreads` threads, four each.
constexpr int kRowThreads = 256, kPass = 4 * kRowThreads;

__device__ __forceinline__ float4 load4(const float* at) { return *reinterpret_cast<const float4*>(at); }
/// What is read once.
__device__ __forceinline__ float4 load4_once(const float* at) { return __ldcs(reinterpret_cast<const float4*>(at)); }
__device__ __forceinline__ void store4(float* at, float4 v) { *reinterpret_cast<float4*>(at) = v; }
__device__ __forceinline__ float4 add4(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }
__device__ __forceinline__ float4 scaled4(float4 v, float scale, float4 w) {
  return {v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w};
}
__device__ __forceinline__ void add_squares(float (&sums)[4], float4 v) {
  sums[0] = fmaf(v.x, v.x, sums[0]), sums[1] = fmaf(v.y, v.y, sums[1]);
  sums[2] = fmaf(v.z, v.z, sums[2]), sums[3] = fmaf(v.w, v.w, sums[3]);
}
/// The sum over 32 t's: eight lanes, the same in each.
__device__ __forceinline__ float sum_of_32(const float (&of_lane)[4]) {
  float sums[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    sums[j] = of_lane[j];
#pragma unroll
    for (int step = 4; step > 0; step /= 2) sums[j] += __shfl_xor_sync(kAllLanes, sums[j], step);
  }
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/// Four columns from c on, rounded, by 16 lanes that have a tile's. Interleaved, the pair of columns 16 on lies beside
/// a lane's own, so lanes 4 apart exchange one.
__device__ __forceinline__ void store_rounded4(RoundedRows to, std::int64_t row, int c, float4 v) {
  const unsigned lo = pack_bf16x2(v.x, v.y), hi = pack_bf16x2(v.z, v.w);
  std::uint16_t* at = to.data + row * to.stride + c;
  if (!to.interleaved) {
    *reinterpret_cast<uint2*>(at) = {lo, hi};
    return;
  }
  const bool odd = c % 32 >= 16;  // of each two parts of 16 columns
  const unsigned other = __shfl_xor_sync(0xffffu << (threadIdx.x & 16), odd ? lo : hi, 4);
  const int in_tile = c % static_cast<int>(kTileCols);
  std::uint16_t* tile = at - in_tile;
  const int place = in_tile % 16 * 4 + (odd ? 8 : 0) + in_tile / 32 * 4;
  *reinterpret_cast<uint2*>(tile + place) = odd ? uint2{other, hi} : uint2{lo, other};
}

// A block a row.
template <int kPasses, bool kMixture>
__global__ void __launch_bounds__(kRowThreads, kMixture ? 3 : 5)
    prefill_norm_kernel(ConstRows added, Mixture mixture, Rows x, const float* weight, float eps, int cols, Rows out,
                        RoundedRows rounded) {
  __shared__ float of_warps[32];
  const int first = static_cast<int>(threadIdx.x) * 4;
  wait_for_predecessors();
  const std::int64_t row = blockIdx.x;
  float* values = x.data + row * x.stride;
  float4 kept[kPasses];
#pragma unroll
  for (int i = 0; i < kPasses; ++i)
    kept[i] = first + i * kPass < cols ? load4(values + first + i * kPass) : float4{0, 0, 0, 0};
  if (kMixture) {
    constexpr int kTogether = 6;
    const float* weights_of_row = mixture.weights.data + row * mixture.weights.stride;
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const int c = first + i * kPass;
      if (c >= cols) break;
      const float* y = mixture.y + row * mixture.chosen * mixture.y_stride + c;
      float4 sum{0, 0, 0, 0}, shared{0, 0, 0, 0};
      if (mixture.shared.data) shared = load4_once(mixture.shared.data + row * mixture.shared.stride + c);
      for (int from = 0; from < mixture.chosen; from += kTogether) {
        float4 part[kTogether];
#pragma unroll
        for (int j = 0; j < kTogether; ++j)
          if (from + j < mixture.chosen) part[j] = load4_once(y + (from + j) * mixture.y_stride);
#pragma unroll
        for (int j = 0; j < kTogether; ++j)
          if (from + j < mixture.chosen) {
            const float w = weights_of_row[from + j];
            sum.x = fmaf(w, part[j].x, sum.x), sum.y = fmaf(w, part[j].y, sum.y);
            sum.z = fmaf(w, part[j].z, sum.z), sum.w = fmaf(w, part[j].w, sum.w);
          }
      }
      if (mixture.shared.data) sum = add4(sum, shared);
      __stcs(reinterpret_cast<float4*>(mixture.out.data + row * mixture.out.stride + c), sum);
      kept[i] = add4(kept[i], sum);
    }
  } else if (added.data) {
    float4 addend[kPasses];
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      if (first + i * kPass < cols) addend[i] = load4_once(added.data + row * added.stride + first + i * kPass);
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      if (first + i * kPass < cols) kept[i] = add4(kept[i], addend[i]);
  }
  float squares[4] = {};
#pragma unroll
  for (int i = 0; i < kPasses; ++i) {
    if (added.data && first + i * kPass < cols) store4(values + first + i * kPass, kept[i]);
    add_squares(squares, kept[i]);
  }
  const float of_32 = sum_of_32(squares);
  if (threadIdx.x % 8 == 0) of_warps[threadIdx.x / 8] = of_32;
  __syncthreads();
  const float mean = warp_sum(of_warps[threadIdx.x % 32]) / static_cast<float>(cols);
  const float scale = 1.0f / sqrtf(mean + eps);
#pragma unroll
  for (int i = 0; i < kPasses; ++i) {
    const int c = first + i * kPass;
    if (c >= cols) break;
    const float4 v = scaled4(kept[i], scale, load4(weight + c));
    store4(out.data + row * out.stride + c, v);
    if (rounded.data) store_rounded4(rounded, row, c, v);
  }
}

// A warp a group of a row. kQuads: fours of columns of a lane.
constexpr int kGatedThreads = 256;
template <int kQuads>
__global__ void __launch_bounds__(kGatedThreads, kQuads <= 4 ? 4 : 2)
    prefill_gated_norm_kernel(ConstRows y, ConstRows z, const float* weight, float eps, int groups, std::int64_t rows,
                              Rows out, RoundedRows rounded) {
  constexpr int kWidth = kQuads * 128, kTs = 256;
  const int lane = threadIdx.x % 32;
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * (kGatedThreads / 32) + threadIdx.x / 32;
  wait_for_predecessors();
  if (at >= rows * groups) return;
  const std::int64_t row = at / groups;
  const int first = static_cast<int>(at % groups) * kWidth + lane * 4;
  float4 kept[kQuads], gate[kQuads];
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    kept[q] = load4(y.data + row * y.stride + first + q * 128);
    gate[q] = load4_once(z.data + row * z.stride + first + q * 128);
  }
  float squares[kTs / 128][4] = {};
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    kept[q] = {kept[q].x * silu(gate[q].x), kept[q].y * silu(gate[q].y), kept[q].z * silu(gate[q].z),
               kept[q].w * silu(gate[q].w)};
    add_squares(squares[q % 2], kept[q]);
  }
  // Warp 4 q + lane / 8 of that kernel's eight: 4 apart, then 2, then 1.
  float sum = sum_of_32(squares[0]) + sum_of_32(squares[1]);
  sum += __shfl_xor_sync(kAllLanes, sum, 16);
  sum += __shfl_xor_sync(kAllLanes, sum, 8);
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(kWidth) + eps);
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    const int c = first + q * 128;
    const float4 v = scaled4(kept[q], scale, load4(weight + c));
    store4(out.data + row * out.stride + c, v);
    if (rounded.data) store_rounded4(rounded, row, c, v);
  }
}

bool in_fours(ConstRows rows) { return rows.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0; }

constexpr int kMostPasses = 4;

}  // namespace

bool fits_prefill_norm(ConstRows added, const Mixture& mixture, ConstRows x, std::int64_t cols, ConstRows out) {
  return cols % kTileCols == 0 && cols <= kMostPasses * kPass && in_fours(added) && in_fours(x) && in_fours(out) &&
         (!mixture.y || (in_fours({mixture.y, mixture.y_stride}) && in_fours(mixture.shared) && in_fours(mixture.out)));
}

void prefill_add_rms_norm(const Launch& to, ConstRows added, const Mixture& mixture, Rows x, const float* weight,
                          float eps, std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded) {
  CHECK(fits_prefill_norm(added, mixture, x, cols, out), "rows of a norm");
  const auto go = [&](auto kernel) {
    launch(to, "prefill_norm_kernel", kernel, dim3(static_cast<unsigned>(rows)), kRowThreads, 0, added, mixture, x,
           weight, eps, static_cast<int>(cols), out, rounded);
  };
  if (cols <= 3 * kPass) return go(mixture.y ? prefill_norm_kernel<3, true> : prefill_norm_kernel<3, false>);
  go(mixture.y ? prefill_norm_kernel<kMostPasses, true> : prefill_norm_kernel<kMostPasses, false>);
}

bool fits_prefill_gated_norm(ConstRows y, ConstRows z, std::int64_t groups, std::int64_t cols, ConstRows out) {
  const std::int64_t width = cols / groups;
  return (width == 256 || width == 512 || width == 1024) && in_fours(y) && in_fours(z) && in_fours(out);
}

void prefill_gated_norm(const Launch& to, ConstRows y, ConstRows z, const float* weight, std::int64_t groups, float eps,
                        std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded) {
  CHECK(fits_prefill_gated_norm(y, z, groups, cols, out), "rows of a gated norm");
  const std::int64_t width = cols / groups, each = kGatedThreads / 32;
  launch(to, "prefill_gated_norm_kernel",
         width == 256   ? prefill_gated_norm_kernel<2>
         : width == 512 ? prefill_gated_norm_kernel<4>
                        : prefill_gated_norm_kernel<8>,
         dim3(static_cast<unsigned>((rows * groups + each - 1) / each)), kGatedThreads, 0, y, z, weight, eps,
         static_cast<int>(groups), rows, out, rounded);
}

}  // namespace strata::cuda
