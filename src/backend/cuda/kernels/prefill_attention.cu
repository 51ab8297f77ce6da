// A block takes eight tokens of a sequence and 16 heads that share a key: 128 rows for the wide matrix instruction, 16
// a warp. One warpgroup brings units of 128 keys to shared memory as bf16, keys ahead of values and one unit ahead of
// the other two, which multiply. In exact numerics every warp makes of a unit what a warp of attention.cu makes, and
// merges units and blocks of units in the same order; in fast ones it keeps one running maximum.
#include "backend/cuda/kernels/prefill_attention_units.cuh"
#include "base/check.h"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

using namespace prompt_attention;

/// Registers of a thread that copies, and of one that multiplies.
constexpr int kCopierRegisters = 56, kMultiplierRegisters = 224;

/// The merge of two parts: sums and values relative to the larger maximum.
struct Factors {
  float max, mine, other;
};
__device__ __forceinline__ Factors merge(float max, float other) {
  const float larger = fmaxf(max, other);
  return {larger, expf(max - larger), expf(other - larger)};
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The largest of a row's scores so far, by the four lanes that have it.
__device__ __forceinline__ float max_of_row(float v) {
  v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, 1));
  return fmaxf(v, __shfl_xor_sync(kAllLanes, v, 2));
}
__device__ __forceinline__ float sum_of_row(float v) {
  v += __shfl_xor_sync(kAllLanes, v, 1);
  return v + __shfl_xor_sync(kAllLanes, v, 2);
}
__device__ __forceinline__ float exp2_of(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(v));
  return r;
}

/// values += the unit's, in fast numerics. scores: [n][i] is key 8 n + 2 t + i % 2 of head g + i / 2 * 8.
struct Running {
  float max[2] = {-INFINITY, -INFINITY}, sum[2] = {};
};
__device__ __forceinline__ void weigh_fast(float (&scores)[64], float scale, Running& so_far, float (&values)[64],
                                           unsigned (&weights)[8][4]) {
  float max[2] = {so_far.max[0], so_far.max[1]};
#pragma unroll
  for (int i = 0; i < 64; ++i) max[i % 4 / 2] = fmaxf(max[i % 4 / 2], scores[i]);
  bool grew = false;
  float shrink[2], base[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    max[h] = max_of_row(max[h]);
    grew |= max[h] > so_far.max[h];
    shrink[h] = exp2_of((so_far.max[h] - max[h]) * scale);
    base[h] = max[h] * scale;
    so_far.max[h] = max[h];
    so_far.sum[h] *= shrink[h];
  }
  if (__any_sync(kAllLanes, grew))
#pragma unroll
    for (int i = 0; i < 64; ++i) values[i] *= shrink[i % 4 / 2];
#pragma unroll
  for (int kb = 0; kb < 8; ++kb)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const int n = 2 * kb + v / 2, h = v % 2;
      const float lo = exp2_of(fmaf(scores[n * 4 + h * 2], scale, -base[h]));
      const float hi = exp2_of(fmaf(scores[n * 4 + h * 2 + 1], scale, -base[h]));
      so_far.sum[h] += lo + hi;
      weights[kb][v] = pack_bf16x2(lo, hi);
    }
}

#endif

template <bool kFp8, bool kExact>
__global__ void __launch_bounds__(kThreads, 1)
    prefill_attention_kernel(DeviceBatch batch, ConstRows q, int heads, Cache cache, float scale, Rows out,
                             RoundedRows rounded) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ std::byte memory[];
  using Layout = std::conditional_t<kExact, ExactShared, Shared>;
  Layout& shared = *reinterpret_cast<Layout*>(memory + (1024 - shared_address(memory) % 1024) % 1024);
  wait_for_predecessors();
  constexpr int kParts = kSpanRows / kTokens;
  const int block = static_cast<int>(gridDim.x - 1 - blockIdx.x);  // the longest first
  const Span span = batch.span(block / kParts);
  Work work;
  work.s = batch.sequence(span.sequence);
  const DeviceSequence& s = work.s;
  work.first = span.first + block % kParts * kTokens;
  if (s.count < kPrefillSequenceRows || work.first >= s.count) return;
  const int head_tiles = (heads / cache.heads + kHeads - 1) / kHeads;
  work.sharing = heads / cache.heads;
  work.kv_head = static_cast<int>(blockIdx.y) / head_tiles;
  work.first_head = static_cast<int>(blockIdx.y) % head_tiles * kHeads;
  work.most = s.position + min(work.first + kTokens, s.count);
  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      init_barrier(shared.keys_came[i], 128), init_barrier(shared.values_came[i], 128);
      init_barrier(shared.keys_used[i], 4 * kGroups), init_barrier(shared.values_used[i], 4 * kGroups);
    }
  }
  __syncthreads();
  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == kGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCopierRegisters));
    return copy_units<kFp8>(shared, batch, cache, work);
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kMultiplierRegisters));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;  // a warp a token
  const bool there = work.first + warp < s.count;
  const std::int64_t row = s.first_row + work.first + warp;
  const std::int64_t visible = there ? s.position + work.first + warp + 1 : 0;  // keys that the warp's token sees
  {
    std::byte* rows = &shared.queries[warpgroup].rows[lane / 16][0][0];
    const float* from = q.data + (there ? row : 0) * q.stride + (work.kv_head * work.sharing + work.first_head) * kDim;
#pragma unroll 4
    for (int head = 0; head < kHeads; ++head) {
      const bool read = there && work.first_head + head < work.sharing;
      float4 v{0, 0, 0, 0};
      if (read) v = *reinterpret_cast<const float4*>(from + head * kDim + lane * 4);
      *reinterpret_cast<uint2*>(rows + place_of(warp % 4 * 16 + head, lane % 16 / 4, lane % 4)) = {
          pack_bf16x2(v.x, v.y), pack_bf16x2(v.z, v.w)};
    }
  }
  fence_for_wgmma();
  if (warpgroup == 0) {  // the warpgroup's queries are there
    asm volatile("bar.sync 1,128;" ::: "memory");
  } else {
    asm volatile("bar.sync 2,128;" ::: "memory");
  }

  const std::uint64_t query_rows = wgmma_rows(shared_address(&shared.queries[warpgroup]));
  float scores[64], values[64];
  const auto score_unit = [&](unsigned stage) {
    const std::uint64_t key_rows = wgmma_rows(shared_address(&shared.keys[stage]));
    wgmma_fence();
#pragma unroll
    for (int kb = 0; kb < kProducts; ++kb) {
      const unsigned in_half = static_cast<unsigned>(kb % 4 * 2);
      multiply_rows(scores, query_rows + static_cast<unsigned>(kb / 4 * kGroupRows * 8) + in_half,
                    key_rows + static_cast<unsigned>(kb / 4 * kUnitKeys * 8) + in_half, kb > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
  };
  const auto used = [&](std::uint64_t& barrier) {
    __syncwarp();
    if (lane == 0) arrive(barrier);
  };
  [[maybe_unused]] float total_max[2] = {-INFINITY, -INFINITY}, total_sum[2] = {};
  if constexpr (kExact) {
    float(*totals)[32] = shared.totals[warp];
    for (int i = 0; i < 64; ++i) totals[i][lane] = 0;
    float block_values[64], block_max[2], block_sum[2];
    const auto clear_block = [&] {
      block_max[0] = block_max[1] = -INFINITY, block_sum[0] = block_sum[1] = 0;
#pragma unroll
      for (int i = 0; i < 64; ++i) block_values[i] = 0;
    };
    clear_block();
    unsigned unit = 0;
    for (std::int64_t first_key = 0; first_key < work.most; first_key += kUnitKeys, ++unit) {
      const unsigned stage = unit % 2, phase = unit / 2 & 1;
      wait(shared.keys_came[stage], phase);
      score_unit(stage);
      used(shared.keys_used[stage]);
      const int left = static_cast<int>(min(visible - first_key, static_cast<std::int64_t>(kUnitKeys)));
      float max[2] = {-INFINITY, -INFINITY}, sum[2] = {};
#pragma unroll
      for (int i = 0; i < 64; ++i) {
        scores[i] = i / 4 * 8 + t * 2 + i % 2 < left ? scores[i] * scale : -INFINITY;
        max[i % 4 / 2] = fmaxf(max[i % 4 / 2], scores[i]);
      }
      max[0] = max_of_row(max[0]), max[1] = max_of_row(max[1]);
      constexpr int kTerms = 3;  // of bf16 that a weight is the sum of: all 24 bits
      unsigned even[kTerms][4], odd[kTerms][4];
      const auto weigh = [&](int kb, unsigned(&weights)[kTerms][4]) {
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const int n = 2 * kb + v / 2, h = v % 2;
          float lo = expf(scores[n * 4 + h * 2] - max[h]), hi = expf(scores[n * 4 + h * 2 + 1] - max[h]);
          sum[h] += lo;
          sum[h] += hi;
#pragma unroll
          for (int term = 0; term < kTerms; ++term) {
            const unsigned both = pack_bf16x2(lo, hi);
            weights[term][v] = both;
            lo -= __uint_as_float(both << 16), hi -= __uint_as_float(both & 0xffff0000u);
          }
        }
#pragma unroll
        for (int term = 0; term < kTerms; ++term) keep(weights[term]);
      };
      weigh(0, even);
      wait(shared.values_came[stage], phase);
      const std::uint64_t columns = columns_of(shared_address(&shared.values[stage]));
#pragma unroll
      for (int kb = 0; kb < kProducts; ++kb) {
        auto& weights = kb % 2 ? odd : even;
        wgmma_fence();
#pragma unroll
        for (int term = 0; term < kTerms; ++term)
          multiply_columns(values, weights[term], columns + static_cast<unsigned>(kb * 16 * 8), kb > 0 || term > 0);
        wgmma_commit();
        if (kb + 1 < kProducts) weigh(kb + 1, kb % 2 ? even : odd);
        wgmma_wait<0>();
      }
      used(shared.values_used[stage]);
      if (left <= 0) continue;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const Factors f = merge(block_max[h], max[h]);
        block_max[h] = f.max;
        block_sum[h] = block_sum[h] * f.mine + sum_of_row(sum[h]) * f.other;
#pragma unroll
        for (int i = h * 2; i < 64; i += i % 2 ? 3 : 1)
          block_values[i] = block_values[i] * f.mine + values[i] * f.other;
      }
      const std::int64_t end = first_key + kUnitKeys;
      if (end % kBlockKeys != 0 && end < visible) continue;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const Factors f = merge(total_max[h], block_max[h]);
        total_max[h] = f.max;
        total_sum[h] = total_sum[h] * f.mine + block_sum[h] * f.other;
#pragma unroll
        for (int i = h * 2; i < 64; i += i % 2 ? 3 : 1)
          totals[i][lane] = totals[i][lane] * f.mine + block_values[i] * f.other;
      }
      clear_block();
    }
#pragma unroll
    for (int i = 0; i < 64; ++i) values[i] = totals[i][lane];
  } else {
    Running so_far;
#pragma unroll
    for (int i = 0; i < 64; ++i) values[i] = 0;
    const float to_base_2 = scale * 1.44269504f;
    unsigned unit = 0;
    for (std::int64_t first_key = 0; first_key < work.most; first_key += kUnitKeys, ++unit) {
      const unsigned stage = unit % 2, phase = unit / 2 & 1;
      wait(shared.keys_came[stage], phase);
      score_unit(stage);
      used(shared.keys_used[stage]);
      const int left = static_cast<int>(min(visible - first_key, static_cast<std::int64_t>(kUnitKeys)));
      if (left < kUnitKeys)
#pragma unroll
        for (int i = 0; i < 64; ++i)
          if (i / 4 * 8 + t * 2 + i % 2 >= left) scores[i] = -INFINITY;
      unsigned weights[kProducts][4];
      weigh_fast(scores, to_base_2, so_far, values, weights);
#pragma unroll
      for (int kb = 0; kb < kProducts; ++kb) keep(weights[kb]);
      wait(shared.values_came[stage], phase);
      const std::uint64_t columns = columns_of(shared_address(&shared.values[stage]));
      wgmma_fence();
#pragma unroll
      for (int kb = 0; kb < kProducts; ++kb)
        multiply_columns(values, weights[kb], columns + static_cast<unsigned>(kb * 16 * 8), 1);
      wgmma_commit();
      wgmma_wait<0>();
      used(shared.values_used[stage]);
    }
    total_sum[0] = sum_of_row(so_far.sum[0]), total_sum[1] = sum_of_row(so_far.sum[1]);
  }
  if (!there) return;
  const float v_scale = kFp8 ? cache.v_scale : 1.0f;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int head = work.first_head + g + h * 8;
    if (head >= work.sharing) continue;
    const std::int64_t column = (work.kv_head * work.sharing + head) * kDim + t * 2;
#pragma unroll
    for (int j = 0; j < 2 * kProducts; ++j) {
      const float lo = values[j * 4 + h * 2] * v_scale / total_sum[h];
      const float hi = values[j * 4 + h * 2 + 1] * v_scale / total_sum[h];
      *reinterpret_cast<float2*>(out.data + row * out.stride + column + j * 8) = {lo, hi};
      if (rounded.data)
        *reinterpret_cast<unsigned*>(rounded.data + row * rounded.stride + rounded.place(column + j * 8)) =
            pack_bf16x2(lo, hi);
    }
  }
#endif
}

template <bool kFp8, bool kExact>
void launch_attention(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows q, int heads,
                      const Cache& cache, float scale, Rows out, RoundedRows rounded) {
  constexpr int kBytes = 1024 + static_cast<int>(kExact ? sizeof(ExactShared) : sizeof(Shared));
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_attention_kernel<kFp8, kExact>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    kBytes));
    return true;
  }();
  static_cast<void>(once);
  const int sharing = heads / cache.heads, head_tiles = (sharing + kHeads - 1) / kHeads;
  launch(to, "prefill_attention_kernel", prefill_attention_kernel<kFp8, kExact>,
         dim3(static_cast<unsigned>(spans * (kSpanRows / kTokens)), static_cast<unsigned>(cache.heads * head_tiles)),
         kThreads, kBytes, batch, q, heads, cache, scale * (kFp8 ? cache.k_scale : 1.0f), out, rounded);
}

}  // namespace

void prefill_attention(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows q, std::int64_t heads,
                       const Cache& cache, float scale, Rows out, RoundedRows rounded, bool fast) {
  CHECK(fits_prefill_attention(cache, q, out), "rows of attention");
  const auto launch_for = fast        ? cache.fp8 ? launch_attention<true, false> : launch_attention<false, false>
                                 : cache.fp8 ? launch_attention<true, true>
                                      : launch_attention<false, true>;
  launch_for(to, batch, spans, q, static_cast<int>(heads), cache, scale, out, rounded);
}

}  // namespace strata::cuda
