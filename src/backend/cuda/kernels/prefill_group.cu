// Every block counts all pairs, so that it knows where its own expert's begin, then lists those in order: a warp its
// part of the pairs, behind what the warps before it found.
#include "backend/cuda/kernels/prefill_group.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32;
/// Rows that items are made of, so that an expert's are alike.
constexpr int kItemStep = 16;

/// Rows of each item but the last of an expert that has `count`: as few items as can be, and those alike.
__device__ int rows_of_item(int count, int item_rows) {
  const int items = max(1, (count + item_rows - 1) / item_rows), each = (count + items - 1) / items;
  return min(item_rows, max(kItemStep, (each + kItemStep - 1) / kItemStep * kItemStep));
}
__device__ int items_of(int count, int item_rows) {
  const int each = rows_of_item(count, item_rows);
  return (count + each - 1) / each;
}

__global__ void __launch_bounds__(kThreads)
    prefill_group_kernel(const std::int32_t* ids, std::int64_t ids_stride, int pairs, int chosen, int experts,
                         int item_rows, GroupMemory memory) {
  __shared__ int counts[kMostExperts], found[kWarps], begins[2];  // begins: of pairs, of items
  wait_for_predecessors();
  const int expert = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int e = threadIdx.x; e < experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  const bool dense = ids_stride == chosen;
  const auto expert_of = [&](int pair) { return dense ? ids[pair] : ids[pair / chosen * ids_stride + pair % chosen]; };
  const int each = (pairs + kThreads - 1) / kThreads * 32, first = warp * each, last = min(first + each, pairs);
  int mine = 0;
#pragma unroll 4
  for (int base = first; base < last; base += 32) {
    const int e = base + lane < last ? expert_of(base + lane) : -1;
    if (e >= 0) atomicAdd(&counts[e], 1);
    mine += __popc(__ballot_sync(kAllLanes, e == expert));
  }
  if (lane == 0) found[warp] = mine;
  __syncthreads();
  if (warp == 0) {
    int pairs_before = 0, items_before = 0;
    for (int e = lane; e < expert; e += 32) {
      pairs_before += counts[e];
      items_before += items_of(counts[e], item_rows);
    }
    begins[0] = __reduce_add_sync(kAllLanes, pairs_before);
    begins[1] = __reduce_add_sync(kAllLanes, items_before);
  }
  __syncthreads();
  const int count = counts[expert], items = items_of(count, item_rows), item = rows_of_item(count, item_rows);
  if (expert + 1 == experts && threadIdx.x == 0) *memory.items = begins[1] + items;
  for (int i = threadIdx.x; i < items; i += kThreads) {
    memory.item_expert[begins[1] + i] = expert;
    memory.item_first[begins[1] + i] = begins[0] + i * item;
    memory.item_count[begins[1] + i] = min(item, count - i * item);
  }
  int at = begins[0];
  for (int w = 0; w < warp; ++w) at += found[w];
#pragma unroll 4
  for (int base = first; base < last; base += 32) {
    const bool is_mine = base + lane < last && expert_of(base + lane) == expert;
    const unsigned which = __ballot_sync(kAllLanes, is_mine);
    if (is_mine) memory.pairs[at + __popc(which & ((1u << lane) - 1))] = base + lane;
    at += __popc(which);
  }
}

constexpr int kGatherThreads = 256;

/// A warp a pair.
__global__ void __launch_bounds__(kGatherThreads)
    prefill_gather_kernel(Bf16Rows x, const std::int32_t* pairs, std::int64_t count, int chosen, std::uint16_t* out) {
  wait_for_predecessors();
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * (kGatherThreads / 32) + threadIdx.x / 32;
  if (at >= count) return;
  const int parts = static_cast<int>(x.stride / 8), lane = threadIdx.x % 32;
  const auto* from = reinterpret_cast<const uint4*>(x.data + pairs[at] / chosen * x.stride);
  auto* to = reinterpret_cast<uint4*>(out + at * x.stride);
#pragma unroll 8
  for (int i = lane; i < parts; i += 32) to[i] = from[i];
}

}  // namespace

void prefill_gather(const Launch& to, Bf16Rows x, const std::int32_t* pairs, std::int64_t count, std::int64_t chosen,
                    std::uint16_t* out) {
  constexpr std::int64_t kPairs = kGatherThreads / 32;
  launch(to, "prefill_gather_kernel", prefill_gather_kernel, dim3(static_cast<unsigned>((count + kPairs - 1) / kPairs)),
         kGatherThreads, 0, x, pairs, count, static_cast<int>(chosen), out);
}

void prefill_group_by_expert(const Launch& to, const std::int32_t* ids, std::int64_t ids_stride, std::int64_t rows,
                             std::int64_t chosen, std::int64_t experts, std::int64_t item_rows,
                             const GroupMemory& memory) {
  CHECK(experts <= kMostExperts, "experts of a bank");
  launch(to, "prefill_group_kernel", prefill_group_kernel, dim3(static_cast<unsigned>(experts)), kThreads, 0, ids,
         ids_stride, static_cast<int>(rows * chosen), static_cast<int>(chosen), static_cast<int>(experts),
         static_cast<int>(item_rows), memory);
}

}  // namespace strata::cuda
