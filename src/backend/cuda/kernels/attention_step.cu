// One token of each sequence through attention, with the bits of attention.cu for any number of them: a unit is 128
// keys at absolute positions, 8 units are a block, merged in order, and so are the blocks.
//
// There a unit is a warp's; here it is a block's of four warps, and a cluster of eight is a block of keys. The warps
// share a unit's keys for the scores and its columns for the values, which changes no sum: a score is one warp's and a
// column of the values is one warp's, over all keys in order. Keys come to registers before the kernel waits for the
// product that makes the query, but for the unit with the new key, which is written first.
#include "backend/cuda/kernels/attention_step.h"
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"
#include "tensor/dtype.h"

namespace strata::cuda {
namespace {

constexpr int kUnitKeys = 128, kUnits = kBlockKeys / kUnitKeys, kHeads = 16, kDim = 128, kPage = 64;
constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kWarpTiles = kUnitKeys / 8 / kWarps;  // tiles of 8 keys whose scores a warp makes
constexpr int kWarpColumns = kDim / kWarps;         // of the values
constexpr int kMerged = kHeads / kUnits;            // heads that a block of a cluster merges
constexpr int kMergedAtOnce = 32;                   // parts

__device__ __forceinline__ uint4 load_past_l1(const void* p) { return __ldcg(static_cast<const uint4*>(p)); }

/// Two e4m3 bytes at the bottom and top of `both`'s upper halves as two bf16 numbers; as Tile<Format::fp8>.
__device__ __forceinline__ unsigned two_of_fp8(unsigned word, unsigned pick) {
  const unsigned v = __byte_perm(word, 0, pick);
  return multiply_bf16x2((v & 0x80008000u) | ((v & 0x7f007f00u) >> 4), 0x7b807b80u);
}
constexpr unsigned kLowBytes = 0x1404, kHighBytes = 0x3424;

/// 16 columns of one key, as it lies in the cache and as 8 pairs of bf16.
template <bool kFp8>
struct KeyColumns {
  uint4 words[kFp8 ? 1 : 2];
  __device__ __forceinline__ void load(const std::byte* row, int first, bool there) {
#pragma unroll
    for (int i = 0; i < (kFp8 ? 1 : 2); ++i)
      words[i] = there ? load_past_l1(row + first * (kFp8 ? 1 : 2) + i * 16) : uint4{0, 0, 0, 0};
  }
  __device__ __forceinline__ unsigned pair(int i) const {
    const uint4 w = words[kFp8 ? 0 : i / 4];
    const int at = kFp8 ? i / 2 : i % 4;
    const unsigned word = at == 0 ? w.x : at == 1 ? w.y : at == 2 ? w.z : w.w;
    return kFp8 ? two_of_fp8(word, i % 2 ? kHighBytes : kLowBytes) : word;
  }
};
/// 4 columns of one key's values.
template <bool kFp8>
struct ValueColumns {
  unsigned words[kFp8 ? 1 : 2];
  __device__ __forceinline__ void load(const std::byte* row, int first, bool there) {
    if (kFp8) {
      words[0] = there ? __ldcg(reinterpret_cast<const unsigned*>(row + first)) : 0;
    } else {
      const uint2 w = there ? __ldcg(reinterpret_cast<const uint2*>(row + 2 * first)) : uint2{0, 0};
      words[0] = w.x, words[kFp8 ? 0 : 1] = w.y;
    }
  }
  __device__ __forceinline__ unsigned pair(int i) const {
    return kFp8 ? two_of_fp8(words[0], i ? kHighBytes : kLowBytes) : words[kFp8 ? 0 : i];
  }
};

__device__ void append(const AttentionStep& a, std::int64_t position, std::int64_t page, int row, int kv_head) {
  const int c = threadIdx.x;  // kThreads of them: a column each
  const std::int64_t part = static_cast<std::int64_t>(kPage) * kDim;
  const std::int64_t at = (page * 2 * a.cache.heads + kv_head) * part + position % kPage * kDim + c;
  const std::int64_t value_at = at + a.cache.heads * part;
  const float key = a.k.data[row * a.k.stride + kv_head * kDim + c];
  const float value = a.v.data[row * a.v.stride + kv_head * kDim + c];
  if (a.cache.fp8) {
    auto* to = reinterpret_cast<std::uint8_t*>(a.cache.data);
    to[at] = encode_e4m3(key / a.cache.k_scale);
    to[value_at] = encode_e4m3(value / a.cache.v_scale);
  } else {
    auto* to = reinterpret_cast<std::uint16_t*>(a.cache.data);
    to[at] = bits_of_bf16(key);
    to[value_at] = bits_of_bf16(value);
  }
}

struct Shared {
  float4 scores[kUnitKeys / 8][32];  // of a tile of 8 keys, in each lane's place; then weights
  float values[kHeads][kDim];
  float max[kHeads], sum[kHeads];
  float warp_max[kWarps][kHeads];
  float mine[kMerged][kMergedAtOnce], other[kMerged][kMergedAtOnce], part_sum[kMerged][kMergedAtOnce];
  bool last;
};

/// Parts of kMerged heads merged in order, a thread a column: what attention.cu does one after the other, but a part's
/// factors, which need only the largest maximum before it, are made by a lane each.
struct Merged {
  float max[kMerged], sum[kMerged] = {}, value[kMerged] = {};
};
template <class Part, class Value>
__device__ void merge_parts(Shared& shared, int parts, Part&& part, Value&& value, Merged& m) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float before = -INFINITY;
  for (int first = 0; first < parts; first += kMergedAtOnce) {
    const int count = min(kMergedAtOnce, parts - first);
    if (warp < kMerged) {
      const float2 p = lane < count ? part(warp, first + lane) : float2{-INFINITY, 0};
      float largest = p.x;
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        const float left = __shfl_up_sync(kAllLanes, largest, d);
        if (lane >= d) largest = fmaxf(largest, left);
      }
      largest = fmaxf(before, largest);
      float previous = __shfl_up_sync(kAllLanes, largest, 1);
      if (lane == 0) previous = before;
      if (lane < count) {
        shared.mine[warp][lane] = expf(previous - largest);
        shared.other[warp][lane] = expf(p.x - largest);
        shared.part_sum[warp][lane] = p.y;
      }
      before = __shfl_sync(kAllLanes, largest, 31);
      if (lane == 0) shared.warp_max[0][warp] = before;
    }
    __syncthreads();
#pragma unroll 8
    for (int i = 0; i < count; ++i)
#pragma unroll
      for (int h = 0; h < kMerged; ++h) {
        const float mine = shared.mine[h][i], other = shared.other[h][i];
        m.sum[h] = m.sum[h] * mine + shared.part_sum[h][i] * other;
        m.value[h] = m.value[h] * mine + value(h, first + i) * other;
      }
#pragma unroll
    for (int h = 0; h < kMerged; ++h) m.max[h] = shared.warp_max[0][h];
    __syncthreads();
  }
}

template <bool kFp8>
__global__ void __launch_bounds__(kThreads, kFp8 ? 4 : 3)
    attention_step_kernel(DeviceBatch batch, const __grid_constant__ AttentionStep a) {
  __shared__ Shared shared;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int unit = static_cast<int>(cluster_rank()), block = static_cast<int>(blockIdx.x) / kUnits;
  const int kv_head = blockIdx.y, sequence = blockIdx.z, sharing = a.heads / a.cache.heads;
  // A step's batch lies ready before its first kernel.
  const BatchHeader& header = batch.header();
  const DeviceSequence* s = batch.at<DeviceSequence>(__ldcg(&header.sequences_at)) + sequence;
  const int row = __ldcg(&s->first_row);
  const std::int64_t position = __ldcg(&s->position), visible = position + 1;
  const int used = static_cast<int>((visible + kBlockKeys - 1) / kBlockKeys);
  if (block >= used) return;  // the whole cluster
  const std::int64_t first_key = block * kBlockKeys + unit * kUnitKeys;
  const int left =
      static_cast<int>(max(min(visible - first_key, static_cast<std::int64_t>(kUnitKeys)), std::int64_t{0}));
  const bool has_new = left > 0 && visible - first_key <= kUnitKeys;

  constexpr int kRowBytes = kDim * (kFp8 ? 1 : 2);
  constexpr std::int64_t kPart = static_cast<std::int64_t>(kPage) * kRowBytes;
  const std::int32_t* pages = batch.at<std::int32_t>(__ldcg(&header.pages_at)) + __ldcg(&s->first_page);
  const auto page_at = [&](int i) -> const std::byte* {
    const std::int64_t page = i * kPage < left ? __ldcg(pages + first_key / kPage + i) : 0;
    return a.cache.data + (page * 2 * a.cache.heads + kv_head) * kPart;
  };
  const std::byte *first_page = page_at(0), *second_page = page_at(1);
  const std::int64_t to_values = a.cache.heads * kPart;

  KeyColumns<kFp8> columns[kWarpTiles][2];
  const auto load_keys = [&] {
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      const int key = (warp * kWarpTiles + i) * 8 + g;
      const std::byte* at = (key < kPage ? first_page : second_page) + key % kPage * kRowBytes;
#pragma unroll
      for (int half = 0; half < 2; ++half) columns[i][half].load(at, half * 64 + t * 16, key < left);
    }
  };
  if (!has_new) load_keys();
  if (tid < left)
#pragma unroll
    for (int line = 0; line < kRowBytes; line += 128) {
      const std::byte* at = (tid < kPage ? first_page : second_page) + to_values + tid % kPage * kRowBytes + line;
      asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
    }
  wait_for_predecessors();
  if (has_new) {
    append(a, position, __ldcg(pages + position / kPage), row, kv_head);
    __syncthreads();
    load_keys();
  }

  if (left > 0) {
    unsigned query[kDim / 16][4];
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int head = g + h * 8;
        const auto* from = reinterpret_cast<const float4*>(a.q.data + row * a.q.stride +
                                                           (kv_head * sharing + head) * kDim + half * 64 + t * 16);
#pragma unroll
        for (int kb = 0; kb < 4; ++kb) {
          const float4 v = head < sharing ? from[kb] : float4{0, 0, 0, 0};
          query[half * 4 + kb][h] = pack_bf16x2(v.x, v.y);
          query[half * 4 + kb][h + 2] = pack_bf16x2(v.z, v.w);
        }
      }
    // Scores of this warp's keys.
    const float scale = a.scale * (kFp8 ? a.cache.k_scale : 1.0f);
    float scores[kWarpTiles][4], max[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      const int n = warp * kWarpTiles + i;
      float sum[4] = {};
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int kb = 0; kb < 4; ++kb)
          multiply_add(sum, query[half * 4 + kb], columns[i][half].pair(2 * kb), columns[i][half].pair(2 * kb + 1));
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[i][j] = n * 8 + t * 2 + j % 2 < left ? sum[j] * scale : -INFINITY;
        max[j / 2] = fmaxf(max[j / 2], scores[i][j]);
      }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      max[h] = fmaxf(max[h], __shfl_xor_sync(kAllLanes, max[h], 1));
      max[h] = fmaxf(max[h], __shfl_xor_sync(kAllLanes, max[h], 2));
      if (t == 0) shared.warp_max[warp][g + h * 8] = max[h];
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int w = 0; w < kWarps; ++w) max[h] = fmaxf(max[h], shared.warp_max[w][g + h * 8]);
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i)  // 0 for what isn't seen
      shared.scores[warp * kWarpTiles + i][lane] = {expf(scores[i][0] - max[0]), expf(scores[i][1] - max[0]),
                                                    expf(scores[i][2] - max[1]), expf(scores[i][3] - max[1])};
    __syncthreads();

    // Values, a page at a time: 16 keys a product, their weights as three bf16 terms; 8 columns 4 apart a product,
    // column j of each four.
    float sum[2] = {}, products[4][4] = {};
    constexpr int kPageProducts = kPage / 16;
#pragma unroll 1
    for (int first = 0; first < left; first += kPage) {
      const std::byte* page = (first == 0 ? first_page : second_page) + to_values;
      ValueColumns<kFp8> values[kPageProducts][4];
#pragma unroll
      for (int kb = 0; kb < kPageProducts; ++kb)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = kb * 16 + t * 2 + i / 2 * 8 + i % 2;
          values[kb][i].load(page + key * kRowBytes, warp * kWarpColumns + 4 * g, first + key < left);
        }
#pragma unroll
      for (int kb = 0; kb < kPageProducts; ++kb) {
        if (first + kb * 16 >= left) break;
        const int tile = first / 8 + 2 * kb;
        const float4 p[2] = {shared.scores[tile][lane], shared.scores[tile + 1][lane]};
        unsigned weights[3][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float lo = i % 2 ? p[i / 2].z : p[i / 2].x, hi = i % 2 ? p[i / 2].w : p[i / 2].y;
          sum[i % 2] += lo;
          sum[i % 2] += hi;
#pragma unroll
          for (int term = 0; term < 3; ++term) {
            const unsigned both = pack_bf16x2(lo, hi);
            weights[term][i] = both;
            lo -= __uint_as_float(both << 16), hi -= __uint_as_float(both & 0xffff0000u);
          }
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const unsigned pick = j % 2 ? 0x7632 : 0x5410;
          const unsigned b0 = __byte_perm(values[kb][0].pair(j / 2), values[kb][1].pair(j / 2), pick);
          const unsigned b1 = __byte_perm(values[kb][2].pair(j / 2), values[kb][3].pair(j / 2), pick);
#pragma unroll
          for (int term = 0; term < 3; ++term) multiply_add(products[j], weights[term], b0, b1);
        }
      }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      sum[h] += __shfl_xor_sync(kAllLanes, sum[h], 1);
      sum[h] += __shfl_xor_sync(kAllLanes, sum[h], 2);
      if (warp == 0 && t == 0) shared.max[g + h * 8] = max[h], shared.sum[g + h * 8] = sum[h];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float* to = &shared.values[g + h * 8][warp * kWarpColumns + 4 * (2 * t + c)];
        *reinterpret_cast<float4*>(to) = {products[0][h * 2 + c], products[1][h * 2 + c], products[2][h * 2 + c],
                                          products[3][h * 2 + c]};
      }
    }
  }
  cluster_arrive();
  cluster_wait();

  // This block's heads of the cluster's units.
  const int first_head = unit * kMerged;
  const int units = static_cast<int>(
      min(static_cast<std::int64_t>(kUnits), (visible - block * kBlockKeys + kUnitKeys - 1) / kUnitKeys));
  Merged m;
  merge_parts(
      shared, units,
      [&](int h, int u) {
        return float2{read_shared(&shared.max[first_head + h], u), read_shared(&shared.sum[first_head + h], u)};
      },
      [&](int h, int u) { return read_shared(&shared.values[first_head + h][tid], u); }, m);
  cluster_arrive_relaxed();
  const int heads = min(kMerged, sharing - first_head);
  const std::int64_t head_row = static_cast<std::int64_t>(sequence) * a.heads + kv_head * sharing + first_head;
  bool makes_output = heads > 0;
  if (used > 1 && heads > 0) {
#pragma unroll
    for (int h = 0; h < kMerged; ++h) {
      if (h >= heads) continue;
      const std::int64_t at = (head_row + h) * a.blocks + block;
      if (tid == 0) a.parts.sums[at] = {m.max[h], m.sum[h]};
      a.parts.values[at * kDim + tid] = m.value[h];
    }
    __syncthreads();
    if (tid == 0) {
      unsigned* arrived = a.arrived + (static_cast<std::int64_t>(sequence) * a.cache.heads + kv_head) * kUnits + unit;
      __threadfence();
      shared.last = atomicAdd(arrived, 1u) + 1 == static_cast<unsigned>(used);
      if (shared.last) *arrived = 0;
      __threadfence();
    }
    __syncthreads();
    makes_output = shared.last;
    if (makes_output) {
      m = {};
      const auto part_of = [&](int h, int b) { return (head_row + min(h, heads - 1)) * a.blocks + b; };
      merge_parts(
          shared, used, [&](int h, int b) { return __ldcg(a.parts.sums + part_of(h, b)); },
          [&](int h, int b) { return __ldcg(a.parts.values + part_of(h, b) * kDim + tid); }, m);
    }
  }
  if (makes_output) {
    const float v_scale = kFp8 ? a.cache.v_scale : 1.0f;
#pragma unroll
    for (int h = 0; h < kMerged; ++h) {
      if (h >= heads) continue;
      const std::int64_t column = (kv_head * sharing + first_head + h) * kDim + tid;
      const float value = m.value[h] * v_scale / m.sum[h];
      a.out.data[row * a.out.stride + column] = value;
      if (a.rounded.data) a.rounded.data[row * a.rounded.stride + column] = bits_of_bf16(value);
    }
  }
  cluster_wait();  // a block's shared memory is read until here
}

}  // namespace

bool fits_attention_step(const AttentionStep& a) {
  const Cache& c = a.cache;
  return c.head_dim == kDim && c.page_size == kPage && a.heads % c.heads == 0 && a.heads / c.heads <= kHeads &&
         a.q.stride % 4 == 0 && (a.blocks == 1 || (a.parts.values && a.arrived));
}

void attention_step(const Launch& to, DeviceBatch batch, std::int64_t sequences, const AttentionStep& a) {
  CHECK(fits_attention_step(a), "shapes of attention");
  const dim3 grid(static_cast<unsigned>(a.blocks * kUnits), static_cast<unsigned>(a.cache.heads),
                  static_cast<unsigned>(sequences));
  launch_clusters(to, "attention_step_kernel", a.cache.fp8 ? attention_step_kernel<true> : attention_step_kernel<false>,
                  grid, kUnits, kThreads, 0, batch, a);
}

}  // namespace strata::cuda
