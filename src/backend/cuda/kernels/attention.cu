// Attention for one token or thousands, with the same bits. A warp takes 16 heads that share a key, as the matrix
// unit's rows, and 128 keys at absolute positions; a block is 8 such units, merged in order; blocks are merged in
// order. Scores and softmax are float32, and so are the weights of the values: three bf16 terms each (24 bits).
#include "backend/cuda/kernels/attention.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"
#include "tensor/dtype.h"

namespace strata::cuda {
namespace {

constexpr int kUnitKeys = 128, kUnits = kBlockKeys / kUnitKeys, kHeads = 16;
constexpr int kDim = 128, kTiles = kDim / 16;  // of a head; products over it

__global__ void append_kv_kernel(DeviceBatch batch, ConstRows k, ConstRows v, Cache cache) {
  wait_for_predecessors();
  const int row = blockIdx.y, c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= cache.heads * cache.head_dim) return;
  const DeviceSequence s = batch.sequence(batch.sequence_of_row(row));
  const std::int64_t position = s.position + row - s.first_row;
  const std::int64_t page = batch.pages(s)[position / cache.page_size];
  const int head = c / cache.head_dim, i = c % cache.head_dim;
  const std::int64_t part = static_cast<std::int64_t>(cache.page_size) * cache.head_dim;
  const std::int64_t at = (page * 2 * cache.heads + head) * part + position % cache.page_size * cache.head_dim + i;
  const std::int64_t value_at = at + cache.heads * part;
  const float key = k.data[row * k.stride + c], value = v.data[row * v.stride + c];
  if (cache.fp8) {
    auto* to = reinterpret_cast<std::uint8_t*>(cache.data);
    to[at] = encode_e4m3(key / cache.k_scale);
    to[value_at] = encode_e4m3(value / cache.v_scale);
  } else {
    auto* to = reinterpret_cast<std::uint16_t*>(cache.data);
    to[at] = bits_of_bf16(key);
    to[value_at] = bits_of_bf16(value);
  }
}

/// 16 values of the cache as 8 pairs of bf16.
template <bool kFp8>
__device__ __forceinline__ void load_pairs(const std::byte* row, int first, unsigned (&out)[8]) {
  if (kFp8) {
    const uint4 v = *reinterpret_cast<const uint4*>(row + first);
    const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // as Tile<Format::fp8>
      const unsigned lo = __byte_perm(words[i], 0, 0x1404), hi = __byte_perm(words[i], 0, 0x3424);
      out[2 * i] = multiply_bf16x2((lo & 0x80008000u) | ((lo & 0x7f007f00u) >> 4), 0x7b807b80u);
      out[2 * i + 1] = multiply_bf16x2((hi & 0x80008000u) | ((hi & 0x7f007f00u) >> 4), 0x7b807b80u);
    }
  } else {
    const auto* from = reinterpret_cast<const uint4*>(row + 2 * first);
    const uint4 lo = from[0], hi = from[1];
    out[0] = lo.x, out[1] = lo.y, out[2] = lo.z, out[3] = lo.w;
    out[4] = hi.x, out[5] = hi.y, out[6] = hi.z, out[7] = hi.w;
  }
}

/// What a warp makes of its 128 keys: heads g and g + 8 of its 16, lanes t sharing them.
struct Unit {
  float max[2], sum[2];
  float values[2 * kTiles][4];  // product j: column 16 (2 t + c) + j of head g + 8 h at [h * 2 + c]
};

template <bool kFp8>
__device__ void attend(const Cache& cache, const std::int32_t* pages, int kv_head, std::int64_t first_key,
                       std::int64_t visible, const unsigned (&q)[kTiles][4], float scale, int lane, float* memory,
                       Unit& unit) {
  const int g = lane / 4, t = lane % 4;
  constexpr int kRowBytes = kDim * (kFp8 ? 1 : 2);
  // A unit is two pages of 64 keys.
  constexpr int kPage = 64;
  constexpr std::int64_t kPart = kPage * kRowBytes;
  const std::byte* keys[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool there = first_key + i * kPage < visible;
    const std::int64_t page = there ? pages[first_key / kPage + i] : 0;
    keys[i] = cache.data + (page * 2 * cache.heads + kv_head) * kPart;
  }
  const std::int64_t to_values = cache.heads * kPart;
  const int left = static_cast<int>(min(visible - first_key, static_cast<std::int64_t>(kUnitKeys)));
  // Scores of 16 tiles of 8 keys. A lane reads 16 columns in a row of a key: product kb of 64 columns takes four of
  // them, as in packed.h; q lies the same way.
  // All of the unit is asked for at once: the loops below would wait for memory in every round.
  for (int line = lane; line < left * kRowBytes / 128; line += 32) {
    const std::byte* at = keys[line * 128 / (kPage * kRowBytes)] + line * 128 % (kPage * kRowBytes);
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at + to_values));
  }

  // Scores wait in shared memory, each lane's its own: registers are for the values, and the loops stay short.
  const auto score = [&](int n, int i) -> float& { return memory[(n * 4 + i) * 32 + lane]; };
  float max[2] = {-INFINITY, -INFINITY};
  const int tiles = (left + 7) / 8;
#pragma unroll 4
  for (int n = 0; n < tiles; ++n) {
    float sum[4] = {};
    const int key = n * 8 + g;
    const std::byte* row = keys[n / 8] + key % kPage * kRowBytes;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      unsigned pairs[8] = {};
      if (key < left) load_pairs<kFp8>(row, half * 64 + t * 16, pairs);
#pragma unroll
      for (int kb = 0; kb < 4; ++kb) multiply_add(sum, q[half * 4 + kb], pairs[2 * kb], pairs[2 * kb + 1]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float v = n * 8 + t * 2 + i % 2 < left ? sum[i] * scale : -INFINITY;
      score(n, i) = v;
      max[i / 2] = fmaxf(max[i / 2], v);
    }
  }
  if (tiles % 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) score(tiles, i) = -INFINITY;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    max[h] = fmaxf(max[h], __shfl_xor_sync(kAllLanes, max[h], 1));
    max[h] = fmaxf(max[h], __shfl_xor_sync(kAllLanes, max[h], 2));
    unit.max[h] = max[h];
    unit.sum[h] = 0;
  }

  // Values: 16 keys a product. Lane g's columns are 16 g ..: product j takes column 16 g + j of each.
#pragma unroll
  for (int j = 0; j < 2 * kTiles; ++j)
    unit.values[j][0] = unit.values[j][1] = unit.values[j][2] = unit.values[j][3] = 0;
#pragma unroll 2
  for (int kb = 0; kb * 16 < left; ++kb) {
    unsigned weights[3][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int n = 2 * kb + i / 2, h = i % 2;
      float lo = expf(score(n, h * 2) - max[h]), hi = expf(score(n, h * 2 + 1) - max[h]);  // 0 for what isn't seen
      unit.sum[h] += lo;
      unit.sum[h] += hi;
#pragma unroll
      for (int term = 0; term < 3; ++term) {
        const unsigned both = pack_bf16x2(lo, hi);
        weights[term][i] = both;
        lo -= __uint_as_float(both << 16), hi -= __uint_as_float(both & 0xffff0000u);
      }
    }
    unsigned columns[4][8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) columns[i][j] = 0;
      const int key = kb * 16 + t * 2 + i / 2 * 8 + i % 2;
      const std::byte* row = keys[kb / 4] + to_values + key % kPage * kRowBytes;
      if (key < left) load_pairs<kFp8>(row, 16 * g, columns[i]);
    }
#pragma unroll
    for (int j = 0; j < 2 * kTiles; ++j) {
      const unsigned pick = j % 2 ? 0x7632 : 0x5410;
      const unsigned b0 = __byte_perm(columns[0][j / 2], columns[1][j / 2], pick);
      const unsigned b1 = __byte_perm(columns[2][j / 2], columns[3][j / 2], pick);
#pragma unroll
      for (int term = 0; term < 3; ++term) multiply_add(unit.values[j], weights[term], b0, b1);
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    unit.sum[h] += __shfl_xor_sync(kAllLanes, unit.sum[h], 1);
    unit.sum[h] += __shfl_xor_sync(kAllLanes, unit.sum[h], 2);
  }
}

/// The merge of two parts: sums and values relative to the larger maximum.
struct Factors {
  float max, mine, other;
};
__device__ __forceinline__ Factors merge(float max, float other) {
  const float larger = fmaxf(max, other);
  return {larger, expf(max - larger), expf(other - larger)};
}

constexpr int kThreads = 32 * kUnits;
constexpr int kEach = kHeads * kDim / kThreads;  // values that a thread merges

struct Shared {
  float values[kUnits][kHeads][kDim];
  float max[kUnits][kHeads], sum[kUnits][kHeads];
};

/// A block: one row of q, 16 heads of one key head; all its blocks of keys in order, or (split) one of them.
template <bool kFp8>
__global__ void __launch_bounds__(kThreads, 1)
    attention_kernel(DeviceBatch batch, ConstRows q, int heads, Cache cache, float scale, int blocks, bool split,
                     AttentionParts parts, Rows out, int most_rows) {
  extern __shared__ char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  wait_for_predecessors();
  const int row = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int sharing = heads / cache.heads, head_tiles = (sharing + kHeads - 1) / kHeads;
  const int kv_head = blockIdx.y / head_tiles, first_head = blockIdx.y % head_tiles * kHeads;
  const DeviceSequence s = batch.sequence(batch.sequence_of_row(row));
  const std::int64_t visible = s.position + row - s.first_row + 1;
  if (s.count > most_rows) return;
  const int used = static_cast<int>((visible + kBlockKeys - 1) / kBlockKeys);
  const int begin = split ? blockIdx.z : 0, end = split ? min(begin + 1, used) : used;
  if (begin >= end) return;

  unsigned query[kTiles][4];
#pragma unroll
  for (int kb = 0; kb < kTiles; ++kb)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = first_head + g + i % 2 * 8;
      const int column = kb / 4 * 64 + t * 16 + kb % 4 * 4 + i / 2 * 2;
      const float* from = q.data + row * q.stride + (kv_head * sharing + head) * kDim + column;
      const bool there = head < sharing;
      query[kb][i] = pack_bf16x2(there ? from[0] : 0.0f, there ? from[1] : 0.0f);
    }

  // Thread -> (head, columns) of the merged values.
  const int merged_head = threadIdx.x / (kDim / kEach), merged_column = threadIdx.x % (kDim / kEach) * kEach;
  float max = -INFINITY, sum = 0, values[kEach] = {};
  for (int b = begin; b < end; ++b) {
    const std::int64_t first_key = b * kBlockKeys + warp * kUnitKeys;
    const int units = static_cast<int>(
        min(static_cast<std::int64_t>(kUnits), (visible - b * kBlockKeys + kUnitKeys - 1) / kUnitKeys));
    __syncthreads();
    if (warp < units) {
      Unit unit;
      attend<kFp8>(cache, batch.pages(s), kv_head, first_key, visible, query, scale * (kFp8 ? cache.k_scale : 1.0f),
                   lane, &shared.values[warp][0][0], unit);
      __syncwarp();  // its memory is the values' now
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (t == 0) shared.max[warp][g + h * 8] = unit.max[h], shared.sum[warp][g + h * 8] = unit.sum[h];
#pragma unroll
        for (int j = 0; j < 2 * kTiles; ++j)
#pragma unroll
          for (int c = 0; c < 2; ++c) shared.values[warp][g + h * 8][16 * (2 * t + c) + j] = unit.values[j][h * 2 + c];
      }
    }
    __syncthreads();
    float block_max = -INFINITY, block_sum_ = 0, block_values[kEach] = {};
    for (int u = 0; u < units; ++u) {
      const Factors f = merge(block_max, shared.max[u][merged_head]);
      block_max = f.max;
      block_sum_ = block_sum_ * f.mine + shared.sum[u][merged_head] * f.other;
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        block_values[i] = block_values[i] * f.mine + shared.values[u][merged_head][merged_column + i] * f.other;
    }
    const Factors f = merge(max, block_max);
    max = f.max;
    sum = sum * f.mine + block_sum_ * f.other;
#pragma unroll
    for (int i = 0; i < kEach; ++i) values[i] = values[i] * f.mine + block_values[i] * f.other;
  }
  if (first_head + merged_head >= sharing) return;
  const int head = kv_head * sharing + first_head + merged_head;
  if (split) {
    const std::int64_t at = (static_cast<std::int64_t>(row) * heads + head) * blocks + begin;
    if (merged_column == 0) parts.sums[at] = {max, sum};
    for (int i = 0; i < kEach; ++i) parts.values[at * kDim + merged_column + i] = values[i];
    return;
  }
  const float v_scale = kFp8 ? cache.v_scale : 1.0f;
  for (int i = 0; i < kEach; ++i)
    out.data[row * out.stride + head * kDim + merged_column + i] = values[i] * v_scale / sum;
}

/// Merges the blocks of a row and head in order: what attention_kernel does where it has them all.
__global__ void __launch_bounds__(kDim)
    merge_kernel(DeviceBatch batch, int heads, float v_scale, int blocks, AttentionParts parts, Rows out) {
  wait_for_predecessors();
  const int row = blockIdx.x, head = blockIdx.y, c = threadIdx.x;
  const DeviceSequence s = batch.sequence(batch.sequence_of_row(row));
  const std::int64_t visible = s.position + row - s.first_row + 1;
  const int used = static_cast<int>((visible + kBlockKeys - 1) / kBlockKeys);
  float max = -INFINITY, sum = 0, value = 0;
  const std::int64_t base = (static_cast<std::int64_t>(row) * heads + head) * blocks;
  for (int b = 0; b < used; ++b) {
    const float2 part = parts.sums[base + b];
    const Factors f = merge(max, part.x);
    max = f.max;
    sum = sum * f.mine + part.y * f.other;
    value = value * f.mine + parts.values[(base + b) * kDim + c] * f.other;
  }
  out.data[row * out.stride + head * kDim + c] = value * v_scale / sum;
}

/// Any head size, a warp a row and head, key after key: what head sizes that no release has are left to.
template <bool kFp8>
__global__ void __launch_bounds__(32)
    plain_attention_kernel(DeviceBatch batch, ConstRows q, int heads, Cache cache, float scale, Rows out) {
  constexpr int kMost = kMostHeadDim / 32;
  wait_for_predecessors();
  const int row = blockIdx.x, head = blockIdx.y, lane = threadIdx.x, dim = cache.head_dim;
  const int kv_head = head / (heads / cache.heads);
  const DeviceSequence s = batch.sequence(batch.sequence_of_row(row));
  const std::int32_t* pages = batch.pages(s);
  const std::int64_t visible = s.position + row - s.first_row + 1;
  const auto load = [&](std::int64_t key, int of_values, int i) {
    const std::int64_t page = pages[key / cache.page_size];
    const std::int64_t at =
        (((page * 2 + of_values) * cache.heads + kv_head) * cache.page_size + key % cache.page_size) * dim + i;
    return kFp8 ? decode_e4m3(reinterpret_cast<const std::uint8_t*>(cache.data)[at])
                : float_of_bf16(reinterpret_cast<const std::uint16_t*>(cache.data)[at]);
  };
  float query[kMost], values[kMost] = {}, max = -INFINITY, sum = 0;
#pragma unroll
  for (int j = 0; j < kMost; ++j) {
    const int i = lane + j * 32;
    query[j] = i < dim ? float_of_bf16(bits_of_bf16(q.data[row * q.stride + head * dim + i])) : 0.0f;
  }
  for (std::int64_t key = 0; key < visible; ++key) {
    float score = 0;
#pragma unroll
    for (int j = 0; j < kMost; ++j)
      if (lane + j * 32 < dim) score = fmaf(query[j], load(key, 0, lane + j * 32), score);
    score = warp_sum(score) * scale;
    const Factors f = merge(max, score);
    max = f.max;
    sum = sum * f.mine + f.other;
#pragma unroll
    for (int j = 0; j < kMost; ++j)
      if (lane + j * 32 < dim) values[j] = fmaf(f.other, load(key, 1, lane + j * 32), values[j] * f.mine);
  }
#pragma unroll
  for (int j = 0; j < kMost; ++j)
    if (lane + j * 32 < dim)
      out.data[row * out.stride + head * dim + lane + j * 32] = values[j] * (kFp8 ? cache.v_scale : 1.0f) / sum;
}

template <bool kFp8>
void launch_attention(const Launch& to, DeviceBatch batch, std::int64_t rows, ConstRows q, int heads,
                      const Cache& cache, float scale, int blocks, const AttentionParts& parts, Rows out,
                      std::int32_t most_rows) {
  const auto row_blocks = static_cast<unsigned>(rows);
  if (cache.head_dim != kDim || cache.page_size != 64) {
    return launch(to, "plain_attention_kernel", plain_attention_kernel<kFp8>,
                  dim3(row_blocks, static_cast<unsigned>(heads)), 32, 0, batch, q, heads, cache,
                  scale * (kFp8 ? cache.k_scale : 1.0f), out);
  }
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(attention_kernel<kFp8>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(sizeof(Shared))));
    return true;
  }();
  static_cast<void>(once);
  const int sharing = heads / cache.heads, head_tiles = (sharing + kHeads - 1) / kHeads;
  const bool split = blocks > 1 && parts.values;
  const dim3 grid(row_blocks, static_cast<unsigned>(cache.heads * head_tiles),
                  static_cast<unsigned>(split ? blocks : 1));
  launch(to, "attention_kernel", attention_kernel<kFp8>, grid, kThreads, sizeof(Shared), batch, q, heads, cache, scale,
         blocks, split, parts, out, most_rows);
  if (!split) return;
  launch(to, "merge_kernel", merge_kernel, dim3(row_blocks, static_cast<unsigned>(heads)), kDim, 0, batch, heads,
         kFp8 ? cache.v_scale : 1.0f, blocks, parts, out);
}

}  // namespace

void append_kv(const Launch& to, DeviceBatch batch, std::int64_t rows, ConstRows k, ConstRows v, const Cache& cache) {
  launch(to, "append_kv_kernel", append_kv_kernel,
         dim3(static_cast<unsigned>((cache.heads * cache.head_dim + 127) / 128), static_cast<unsigned>(rows)), 128, 0,
         batch, k, v, cache);
}

void attention(const Launch& to, DeviceBatch batch, std::int64_t rows, ConstRows q, std::int64_t heads,
               const Cache& cache, float scale, std::int64_t blocks, const AttentionParts& parts, Rows out,
               std::int32_t most_rows) {
  CHECK(cache.head_dim <= kMostHeadDim, "values of an attention head");
  const auto go = [&](auto fp8) {
    launch_attention<decltype(fp8)::value>(to, batch, rows, q, static_cast<int>(heads), cache, scale,
                                           static_cast<int>(blocks), parts, out, most_rows);
  };
  cache.fp8 ? go(std::true_type{}) : go(std::false_type{});
}

}  // namespace strata::cuda
