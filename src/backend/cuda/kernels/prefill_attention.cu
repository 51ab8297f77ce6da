// A block takes eight tokens of a sequence, a warp each, and 16 heads that share a key. Unit after unit of 128 keys
// comes to shared memory as bf16; every warp makes of it what a warp of attention.cu makes, and merges units and blocks
// of units in the same order.
#include "backend/cuda/kernels/prefill_attention.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

constexpr int kWarps = kPrefillSequenceRows, kThreads = 32 * kWarps, kHeads = 16, kDim = 128, kProducts = kDim / 16;
constexpr int kUnitKeys = 128, kPage = 64;
/// bf16 from one key to the next: its 16-byte parts begin 4 banks on.
constexpr int kRow = kDim + 8;

struct Shared {
  std::uint16_t keys[kUnitKeys][kRow], values[kUnitKeys][kRow];
  uint4 queries[kWarps][kProducts][32];
  float totals[kWarps][64][32];            // of the blocks merged so far, each lane's own
  uint4 coming[2 * kUnitKeys * 128 / 16];  // the next unit as fp8: keys, then values
};

/// The merge of two parts: sums and values relative to the larger maximum.
struct Factors {
  float max, mine, other;
};
__device__ __forceinline__ Factors merge(float max, float other) {
  const float larger = fmaxf(max, other);
  return {larger, expf(max - larger), expf(other - larger)};
}

/// Maxima, sums and values of the heads g and g + 8: values[j][2 h + c] is column 8 j + 2 t + c.
struct Part {
  float max[2], sum[2];
  float values[2 * kProducts][4];
};

__device__ __forceinline__ void add_part(Part& to, const Part& part) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const Factors f = merge(to.max[h], part.max[h]);
    to.max[h] = f.max;
    to.sum[h] = to.sum[h] * f.mine + part.sum[h] * f.other;
#pragma unroll
    for (int j = 0; j < 2 * kProducts; ++j)
#pragma unroll
      for (int c = 0; c < 2; ++c)
        to.values[j][h * 2 + c] = to.values[j][h * 2 + c] * f.mine + part.values[j][h * 2 + c] * f.other;
  }
}

/// kTerms: of bf16 that a weight is the sum of; three give all 24 bits.
/// What a warp makes of the unit in shared memory, of which its token sees the first `left` keys.
template <int kTerms>
__device__ __forceinline__ void attend(const Shared& shared, int left, float scale, int warp, int lane, Part& unit) {
  const int g = lane / 4, t = lane % 4;
  float scores[kUnitKeys / 8][4];
  float max[2] = {-INFINITY, -INFINITY};
  constexpr int kTogether = 4;  // tiles of 8 keys
#pragma unroll
  for (int first = 0; first < kUnitKeys / 8; first += kTogether) {
#pragma unroll
    for (int n = first; n < first + kTogether; ++n) scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0;
    if (first * 8 < left) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint4 pairs[kTogether][2];
#pragma unroll
        for (int n = 0; n < kTogether; ++n) {
          const auto* key = reinterpret_cast<const uint4*>(&shared.keys[(first + n) * 8 + g][half * 64 + t * 16]);
          pairs[n][0] = key[0], pairs[n][1] = key[1];
        }
#pragma unroll
        for (int kb = 0; kb < 4; ++kb) {
          const uint4 q = shared.queries[warp][half * 4 + kb][lane];
          const unsigned a[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
          for (int n = 0; n < kTogether; ++n) {
            const uint4 p = pairs[n][kb / 2];
            multiply_add(scores[first + n], a, kb % 2 ? p.z : p.x, kb % 2 ? p.w : p.y);
          }
        }
      }
    }
#pragma unroll
    for (int n = first; n < first + kTogether; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = n * 8 + t * 2 + i % 2 < left ? scores[n][i] * scale : -INFINITY;
        max[i / 2] = fmaxf(max[i / 2], scores[n][i]);
      }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    max[h] = fmaxf(max[h], __shfl_xor_sync(kAllLanes, max[h], 1));
    max[h] = fmaxf(max[h], __shfl_xor_sync(kAllLanes, max[h], 2));
    unit.max[h] = max[h];
    unit.sum[h] = 0;
  }
#pragma unroll
  for (int j = 0; j < 2 * kProducts; ++j)
    unit.values[j][0] = unit.values[j][1] = unit.values[j][2] = unit.values[j][3] = 0;
  // Lane -> the row of an 8 x 8 block that it points ldmatrix to: keys 0 .. 15, columns 0 and 8.
  const auto values_at = static_cast<unsigned>(__cvta_generic_to_shared(&shared.values[lane % 16][lane / 16 * 8]));
#pragma unroll
  for (int kb = 0; kb < kUnitKeys / 16; ++kb) {
    if (kb * 16 >= left) break;
    unsigned weights[kTerms][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int n = 2 * kb + i / 2, h = i % 2;
      float lo = expf(scores[n][h * 2] - max[h]), hi = expf(scores[n][h * 2 + 1] - max[h]);
      unit.sum[h] += lo;
      unit.sum[h] += hi;
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
        const unsigned both = pack_bf16x2(lo, hi);
        weights[term][i] = both;
        lo -= __uint_as_float(both << 16), hi -= __uint_as_float(both & 0xffff0000u);
      }
    }
#pragma unroll
    for (int j = 0; j < 2 * kProducts; j += 2) {
      unsigned b[4];
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
                   : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                   : "r"(values_at + static_cast<unsigned>(kb * 16 * kRow * 2 + j * 16)));
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
        multiply_add(unit.values[j], weights[term], b[0], b[1]);
        multiply_add(unit.values[j + 1], weights[term], b[2], b[3]);
      }
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    unit.sum[h] += __shfl_xor_sync(kAllLanes, unit.sum[h], 1);
    unit.sum[h] += __shfl_xor_sync(kAllLanes, unit.sum[h], 2);
  }
}

__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(to), "l"(global), "r"(there ? 16 : 0) : "memory");
}
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// Two fp8 values of a word's half as two bf16, as Tile<Format::fp8>.
__device__ __forceinline__ unsigned pair_of(unsigned word, unsigned pick) {
  const unsigned v = __byte_perm(word, 0, pick);
  return multiply_bf16x2((v & 0x80008000u) | ((v & 0x7f007f00u) >> 4), 0x7b807b80u);
}

template <bool kFp8, int kTerms>
__global__ void __launch_bounds__(kThreads, 1)
    prefill_attention_kernel(DeviceBatch batch, ConstRows q, int heads, Cache cache, float scale, Rows out,
                             RoundedRows rounded) {
#if __CUDA_ARCH__ == 900  // its shared memory is more than others have
  extern __shared__ uint4 memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  wait_for_predecessors();
  constexpr int kParts = kSpanRows / kWarps;
  const int block = static_cast<int>(gridDim.x - 1 - blockIdx.x);  // the longest first
  const Span span = batch.span(block / kParts);
  const DeviceSequence s = batch.sequence(span.sequence);
  const int first = span.first + block % kParts * kWarps;
  if (s.count < kPrefillSequenceRows || first >= s.count) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int sharing = heads / cache.heads, head_tiles = (sharing + kHeads - 1) / kHeads;
  const int kv_head = static_cast<int>(blockIdx.y) / head_tiles;
  const int first_head = static_cast<int>(blockIdx.y) % head_tiles * kHeads;
  const bool there = first + warp < s.count;
  const std::int64_t row = s.first_row + first + warp;
  const std::int64_t visible = there ? s.position + first + warp + 1 : 0;  // keys that the warp's token sees
  const std::int64_t most = s.position + min(first + kWarps, s.count);     // that any of the block's does
  const std::int32_t* pages = batch.pages(s);

#pragma unroll
  for (int kb = 0; kb < kProducts; ++kb) {
    unsigned query[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = first_head + g + i % 2 * 8, column = kb / 4 * 64 + t * 16 + kb % 4 * 4 + i / 2 * 2;
      const float* from = q.data + row * q.stride + (kv_head * sharing + head) * kDim + column;
      const bool read = there && head < sharing;
      query[i] = pack_bf16x2(read ? from[0] : 0.0f, read ? from[1] : 0.0f);
    }
    shared.queries[warp][kb][lane] = {query[0], query[1], query[2], query[3]};
  }
  for (int i = 0; i < 64; ++i) shared.totals[warp][i][lane] = 0;
  float total_max[2] = {-INFINITY, -INFINITY}, total_sum[2] = {};
  Part of_block;
  const auto clear_block = [&] {
#pragma unroll
    for (int h = 0; h < 2; ++h) of_block.max[h] = -INFINITY, of_block.sum[h] = 0;
#pragma unroll
    for (int j = 0; j < 2 * kProducts; ++j)
      of_block.values[j][0] = of_block.values[j][1] = of_block.values[j][2] = of_block.values[j][3] = 0;
  };
  clear_block();

  // A unit's keys, then its values, in 16-byte parts; a thread always has the same columns.
  constexpr int kRowBytes = kDim * (kFp8 ? 1 : 2), kParts16 = kRowBytes / 16, kRowsApart = kThreads / kParts16;
  const int part = threadIdx.x % kParts16, copied = threadIdx.x / kParts16;
  const auto each_part = [&](std::int64_t first_key, auto f) {  // f(key in the unit, of values, where it is, there)
#pragma unroll
    for (int i = 0; i < kUnitKeys / kRowsApart; ++i) {
      const int key = copied + i * kRowsApart;
      const bool read = first_key + key < most;
      const std::int64_t page = read ? pages[(first_key + key) / kPage] : 0;
      const std::byte* at =
          cache.data + ((page * 2 * cache.heads + kv_head) * kPage + key % kPage) * kRowBytes + part * 16;
      f(key, 0, at, read);
      f(key, 1, at + static_cast<std::int64_t>(cache.heads) * kPage * kRowBytes, read);
    }
  };
  const auto fetch_fp8 = [&](std::int64_t first_key) {
    if (first_key >= most) return;
    each_part(first_key, [&](int key, int of_values, const std::byte* at, bool read) {
      copy_async(&shared.coming[(of_values * kUnitKeys + key) * 8 + part], at, read);
    });
  };
  if (kFp8) fetch_fp8(0);
  for (std::int64_t first_key = 0; first_key < most; first_key += kUnitKeys) {
    if (kFp8) wait_for_copies();
    __syncthreads();  // the unit before is done with
    if (kFp8) {
      each_part(first_key, [&](int key, int of_values, const std::byte*, bool) {
        const uint4 v = shared.coming[(of_values * kUnitKeys + key) * 8 + part];
        auto* to = reinterpret_cast<uint4*>(&(of_values ? shared.values : shared.keys)[key][part * 16]);
        constexpr unsigned kLow = 0x1404, kHigh = 0x3424;
        to[0] = {pair_of(v.x, kLow), pair_of(v.x, kHigh), pair_of(v.y, kLow), pair_of(v.y, kHigh)};
        to[1] = {pair_of(v.z, kLow), pair_of(v.z, kHigh), pair_of(v.w, kLow), pair_of(v.w, kHigh)};
      });
      fetch_fp8(first_key + kUnitKeys);
    } else {
      each_part(first_key, [&](int key, int of_values, const std::byte* at, bool read) {
        copy_async(&(of_values ? shared.values : shared.keys)[key][part * 8], at, read);
      });
      wait_for_copies();
    }
    __syncthreads();
    const int left = static_cast<int>(min(visible - first_key, static_cast<std::int64_t>(kUnitKeys)));
    if (left <= 0) continue;
    {
      Part unit;
      attend<kTerms>(shared, left, scale, warp, lane, unit);
      add_part(of_block, unit);
    }
    const std::int64_t end = first_key + kUnitKeys;
    if (end % kBlockKeys != 0 && end < visible) continue;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const Factors f = merge(total_max[h], of_block.max[h]);
      total_max[h] = f.max;
      total_sum[h] = total_sum[h] * f.mine + of_block.sum[h] * f.other;
#pragma unroll
      for (int j = 0; j < 2 * kProducts; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& value = shared.totals[warp][j * 4 + h * 2 + c][lane];
          value = value * f.mine + of_block.values[j][h * 2 + c] * f.other;
        }
    }
    clear_block();
  }
  if (!there) return;
  const float v_scale = kFp8 ? cache.v_scale : 1.0f;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int head = first_head + g + h * 8;
    if (head >= sharing) continue;
    const std::int64_t column = (kv_head * sharing + head) * kDim + t * 2;
#pragma unroll
    for (int j = 0; j < 2 * kProducts; ++j) {
      const auto value = [&](int c) { return shared.totals[warp][j * 4 + h * 2 + c][lane] * v_scale / total_sum[h]; };
      const float lo = value(0), hi = value(1);
      float* to = out.data + row * out.stride + column + j * 8;
      to[0] = lo, to[1] = hi;
      if (rounded.data)
        *reinterpret_cast<unsigned*>(rounded.data + row * rounded.stride + rounded.place(column + j * 8)) =
            pack_bf16x2(lo, hi);
    }
  }
#endif
}

template <bool kFp8, int kTerms>
void launch_attention(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows q, int heads,
                      const Cache& cache, float scale, Rows out, RoundedRows rounded) {
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_attention_kernel<kFp8, kTerms>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(sizeof(Shared))));
    return true;
  }();
  static_cast<void>(once);
  const int sharing = heads / cache.heads, head_tiles = (sharing + kHeads - 1) / kHeads;
  launch(to, "prefill_attention_kernel", prefill_attention_kernel<kFp8, kTerms>,
         dim3(static_cast<unsigned>(spans * (kSpanRows / kWarps)), static_cast<unsigned>(cache.heads * head_tiles)),
         kThreads, sizeof(Shared), batch, q, heads, cache, scale * (kFp8 ? cache.k_scale : 1.0f), out, rounded);
}

}  // namespace

void prefill_attention(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows q, std::int64_t heads,
                       const Cache& cache, float scale, Rows out, RoundedRows rounded, bool fast) {
  CHECK(fits_prefill_attention(cache), "a cache's shape");
  const auto launch_for = fast        ? cache.fp8 ? launch_attention<true, 1> : launch_attention<false, 1>
                                 : cache.fp8 ? launch_attention<true, 3>
                                      : launch_attention<false, 3>;
  launch_for(to, batch, spans, q, static_cast<int>(heads), cache, scale, out, rounded);
}

}  // namespace strata::cuda
