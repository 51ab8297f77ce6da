#include <algorithm>

#include "backend/cuda/kernels/moe.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "backend/cuda/kernels/router.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

/// Four columns of a row from c on; 0 past the end.
__device__ __forceinline__ float4 load_columns(const float* row, std::int64_t c, std::int64_t cols, bool wide) {
  if (wide) return *reinterpret_cast<const float4*>(row + c);
  return {row[c], c + 1 < cols ? row[c + 1] : 0.0f, c + 2 < cols ? row[c + 2] : 0.0f, c + 3 < cols ? row[c + 3] : 0.0f};
}

/// A warp makes kTokens x kFeatures outputs; each is summed over a lane's columns, four together and 128 apart, then
/// over the lanes. That order is the same for every kTokens and kFeatures.
template <int kTokens, int kFeatures>
__global__ void __launch_bounds__(128) linear_f32_kernel(ConstRows x, const float* w, std::int64_t rows,
                                                         std::int64_t cols, std::int64_t features, Rows out) {
  const std::int64_t first_feature =
      (static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32) * kFeatures;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kTokens;
  const int lane = threadIdx.x % 32;
  wait_for_predecessors();
  if (first_feature >= features) return;
  float sum[kTokens][kFeatures] = {};
  const float *xs[kTokens], *ws[kFeatures];
#pragma unroll
  for (int t = 0; t < kTokens; ++t) xs[t] = x.data + min(first_row + t, rows - 1) * x.stride;
#pragma unroll
  for (int f = 0; f < kFeatures; ++f) ws[f] = w + min(first_feature + f, features - 1) * cols;
  const bool wide = cols % 4 == 0 && x.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
#pragma unroll(kTokens == 1 ? 7 : 1)
  for (std::int64_t c = lane * 4; c < cols; c += 128) {
    float4 xv[kTokens], wv[kFeatures];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) xv[t] = load_columns(xs[t], c, cols, wide);
#pragma unroll
    for (int f = 0; f < kFeatures; ++f) wv[f] = load_columns(ws[f], c, cols, wide);
#pragma unroll
    for (int t = 0; t < kTokens; ++t)
#pragma unroll
      for (int f = 0; f < kFeatures; ++f) sum[t][f] = add_products(sum[t][f], xv[t], wv[f]);
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t)
#pragma unroll
    for (int f = 0; f < kFeatures; ++f) {
      const float total = warp_sum(sum[t][f]);
      if (lane == 0 && first_row + t < rows && first_feature + f < features)
        out.data[(first_row + t) * out.stride + first_feature + f] = total;
    }
}

/// The better of two candidates: the larger value, the lower index among equals.
struct Best {
  float value;
  int index;
};
__device__ Best best_of_warp(Best b) {
  for (int step = 16; step > 0; step /= 2) {
    const float value = __shfl_xor_sync(kAllLanes, b.value, step);
    const int index = __shfl_xor_sync(kAllLanes, b.index, step);
    if (value > b.value || (value == b.value && index < b.index)) b = {value, index};
  }
  return b;
}

// A warp a token, whose experts are few and of one group.
template <int kLaneExperts>
__global__ void __launch_bounds__(32) route_few_kernel(ConstRows logits, const float* bias, RouterShape shape,
                                                       std::int32_t* ids, std::int64_t ids_stride, Rows weights) {
  wait_for_predecessors();
  const std::int64_t row = blockIdx.x;
  choose_experts<kLaneExperts>(
      shape, bias, [&](int e) { return logits.data[row * logits.stride + e]; },
      [&](int place, int e, float weight) {
        ids[row * ids_stride + place] = e;
        weights.data[row * weights.stride + place] = weight;
      });
}

// A warp a token.
__global__ void __launch_bounds__(32) route_kernel(ConstRows logits, const float* bias, RouterShape shape,
                                                   std::int32_t* ids, std::int64_t ids_stride, Rows weights) {
  __shared__ float score[kMostExperts], biased[kMostExperts];
  __shared__ bool taken[kMostExperts], closed[kMostExperts];  // chosen experts; groups: chosen ones
  __shared__ float group_score[kMostExperts];
  wait_for_predecessors();
  const std::int64_t row = blockIdx.x;
  const int n = static_cast<int>(shape.experts), lane = threadIdx.x;
  for (int e = lane; e < n; e += 32) {
    score[e] = router_score(logits.data[row * logits.stride + e]);
    biased[e] = biased_score(score[e], bias[e]);
    taken[e] = false;
  }
  __syncwarp();
  // The lowest of the largest among those that `flags` leaves.
  const auto choose = [&](const float* values, const bool* flags, int count) {
    Best best{-INFINITY, 0x7fffffff};
    for (int e = lane; e < count; e += 32)
      if (!flags[e] && (best.index == 0x7fffffff || values[e] > best.value)) best = {values[e], e};
    return best_of_warp(best).index;
  };
  if (shape.groups > 1) {
    const int groups = static_cast<int>(shape.groups), width = n / groups;
    for (int g = lane; g < groups; g += 32) {
      float first = -INFINITY, second = -INFINITY;
      for (int e = g * width; e < (g + 1) * width; ++e) {
        if (biased[e] > first) {
          second = first, first = biased[e];
        } else if (biased[e] > second) {
          second = biased[e];
        }
      }
      group_score[g] = width > 1 ? first + second : first;
      closed[g] = false;
    }
    __syncwarp();
    for (int i = 0; i < static_cast<int>(shape.chosen_groups); ++i) {
      const int g = choose(group_score, closed, groups);
      if (lane == 0) closed[g] = true;
      __syncwarp();
    }
    for (int e = lane; e < n; e += 32)
      if (!closed[e / width]) biased[e] = -INFINITY;
    __syncwarp();
  }
  for (int i = 0; i < static_cast<int>(shape.chosen); ++i) {
    const int e = choose(biased, taken, n);
    if (lane == 0) taken[e] = true;
    __syncwarp();
  }
  // Each chosen expert's place is the number of chosen ones before it.
  __shared__ std::int32_t order[kMostChosen];
  int before = 0;
  for (int base = 0; base < n; base += 32) {
    const int e = base + lane;
    const bool mine = e < n && taken[e];
    const unsigned chosen = __ballot_sync(kAllLanes, mine);
    if (mine) order[before + __popc(chosen & ((1u << lane) - 1))] = e;
    before += __popc(chosen);
  }
  __syncwarp();
  float total = 1e-20f;
  if (shape.normalize)
    for (int i = 0; i < before; ++i) total += score[order[i]];
  for (int i = lane; i < before; i += 32) {
    ids[row * ids_stride + i] = order[i];
    weights.data[row * weights.stride + i] = score[order[i]] / (shape.normalize ? total : 1.0f) * shape.scaling;
  }
}

constexpr int kGroupThreads = 1024;

// One block; a warp lists the pairs of an expert after another.
/// Pairs whose experts fit in shared memory; those past it are read where they lie.
constexpr int kKeptPairs = 16384;

__global__ void __launch_bounds__(kGroupThreads)
    group_kernel(const std::int32_t* ids, std::int64_t ids_stride, int pairs, int chosen, int experts, int item_rows,
                 GroupMemory memory) {
  __shared__ int counts[kMostExperts], firsts[kMostExperts], items[kMostExperts];
  wait_for_predecessors();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  extern __shared__ std::uint16_t kept[];
  const auto read_expert = [&](int pair) { return ids[pair / chosen * ids_stride + pair % chosen]; };
  const auto expert_of = [&](int pair) { return pair < kKeptPairs ? static_cast<int>(kept[pair]) : read_expert(pair); };
  for (int pair = threadIdx.x; pair < min(pairs, kKeptPairs); pair += kGroupThreads)
    kept[pair] = static_cast<std::uint16_t>(read_expert(pair));
  for (int e = threadIdx.x; e < experts; e += kGroupThreads) counts[e] = 0;
  __syncthreads();
  for (int pair = threadIdx.x; pair < pairs; pair += kGroupThreads) atomicAdd(&counts[expert_of(pair)], 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    int first = 0, item = 0;
    for (int e = 0; e < experts; ++e) {
      firsts[e] = first, items[e] = item;
      first += counts[e], item += (counts[e] + item_rows - 1) / item_rows;
    }
    *memory.items = item;
  }
  __syncthreads();
  for (int e = warp; e < experts; e += kGroupThreads / 32) {
    const int count = counts[e];
    if (count == 0) continue;
    for (int i = lane; i * item_rows < count; i += 32) {
      memory.item_expert[items[e] + i] = e;
      memory.item_first[items[e] + i] = firsts[e] + i * item_rows;
      memory.item_count[items[e] + i] = min(item_rows, count - i * item_rows);
    }
    int at = firsts[e];
    for (int base = 0; base < pairs && at < firsts[e] + count; base += 32) {
      const int pair = base + lane;
      const bool mine = pair < pairs && expert_of(pair) == e;
      const unsigned found = __ballot_sync(kAllLanes, mine);
      if (mine) memory.pairs[at + __popc(found & ((1u << lane) - 1))] = pair;
      at += __popc(found);
    }
  }
}

__global__ void __launch_bounds__(256)
    combine_kernel(const float* y, std::int64_t y_stride, ConstRows weights, int chosen, std::int64_t cols, Rows out) {
  wait_for_predecessors();
  const std::int64_t row = blockIdx.y, c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= cols) return;
  float sum = 0;
  for (int j = 0; j < chosen; ++j)
    sum = fmaf(weights.data[row * weights.stride + j], y[(row * chosen + j) * y_stride + c], sum);
  out.data[row * out.stride + c] = sum;
}

unsigned blocks_of(std::int64_t items, std::int64_t each) { return static_cast<unsigned>((items + each - 1) / each); }

}  // namespace

void linear_f32(const Launch& to, ConstRows x, const float* w, std::int64_t rows, std::int64_t cols,
                std::int64_t features, Rows out) {
  if (rows <= 16) {
    launch(to, "linear_f32_kernel", linear_f32_kernel<1, 1>,
           dim3(static_cast<unsigned>(features), static_cast<unsigned>(rows)), 32, 0, x, w, rows, cols, features, out);
  } else {
    launch(to, "linear_f32_kernel", linear_f32_kernel<4, 8>, dim3(blocks_of(features, 32), blocks_of(rows, 4)), 128, 0,
           x, w, rows, cols, features, out);
  }
}

void route(const Launch& to, ConstRows logits, const float* bias, const RouterShape& shape, std::int64_t rows,
           std::int32_t* ids, std::int64_t ids_stride, Rows weights) {
  CHECK(shape.experts <= kMostExperts && shape.chosen <= kMostChosen, "experts of a router");
  const bool few = shape.groups == 1 && shape.experts <= kFewExperts;
  launch(to, "route_kernel",
         !few                               ? route_kernel
         : shape.experts <= kFewExperts / 2 ? route_few_kernel<4>
                                            : route_few_kernel<8>,
         dim3(static_cast<unsigned>(rows)), 32, 0, logits, bias, shape, ids, ids_stride, weights);
}

void group_by_expert(const Launch& to, const std::int32_t* ids, std::int64_t ids_stride, std::int64_t rows,
                     std::int64_t chosen, std::int64_t experts, std::int64_t item_rows, const GroupMemory& memory) {
  CHECK(experts <= kMostExperts, "experts of a bank");
  launch(to, "group_kernel", group_kernel, dim3(1), kGroupThreads,
         static_cast<std::size_t>(std::min<std::int64_t>(rows * chosen, kKeptPairs)) * 2, ids, ids_stride,
         static_cast<int>(rows * chosen), static_cast<int>(chosen), static_cast<int>(experts),
         static_cast<int>(item_rows), memory);
}

void combine_experts(const Launch& to, const float* y, std::int64_t y_stride, ConstRows weights, std::int64_t rows,
                     std::int64_t chosen, std::int64_t cols, Rows out) {
  launch(to, "combine_kernel", combine_kernel, dim3(blocks_of(cols, 256), static_cast<unsigned>(rows)), 256, 0, y,
         y_stride, weights, static_cast<int>(chosen), cols, out);
}

}  // namespace strata::cuda
