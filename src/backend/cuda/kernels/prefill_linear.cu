// A block makes 64 features a warpgroup of up to 128 tokens. Tiles of weights come to shared memory packed; each warp
// decodes its own into registers, as the matrix unit's first operand, while the unit still works on the tile before.
// Tokens are the second operand, from shared memory. Hopper's wide instruction sums 16 columns as mma.m16n8k16 does, so
// with the slices of linear.cu a row's bits are the same.
#include "backend/cuda/kernels/prefill_linear.h"
#include "backend/cuda/kernels/tiles.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

/// Warpgroups of a block, of 64 features each, and its tokens.
constexpr int kGroups = 2;
constexpr int kTokens = static_cast<int>(kPrefillItemRows);
/// Floats from one token to the next where sums are turned around.
constexpr int kTurned = 68;

/// kAhead: tiles whose copies are under way; two more are being multiplied. kBlocks: blocks of a multiprocessor.
/// kSliced: K in slices.
template <Format F, int kAhead_, int kBlocks_, bool kSliced_>
struct Plan {
  static constexpr Format kFormat = F;
  static constexpr int kAhead = kAhead_, kBlocks = kBlocks_, kStages = kAhead + 2;
  static constexpr bool kSliced = kSliced_;
  static constexpr int kThreads = 128 * kGroups, kRowTiles = 4 * kGroups;
  static constexpr int kTokenBytes = kTokens * 128, kWeightBytes = kRowTiles * static_cast<int>(tile_bytes(F));
  static constexpr int kTurnedBytes = kGroups * kTokens * kTurned * 4;
  static constexpr int kStagedBytes = kStages * (kTokenBytes + kWeightBytes);
  static constexpr int kSharedBytes = 1024 + (kStagedBytes > kTurnedBytes ? kStagedBytes : kTurnedBytes);
};

struct Products {
  LinearJob job;
  std::int64_t rows;
  ExpertItems items;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Which rows of x and out a block has, and its matrix.
struct Place {
  const std::byte* tiles;
  float scale;
  const std::int32_t* pairs;  // null: rows are consecutive
  std::int64_t first, count, pairs_per_row;
  __device__ std::int64_t out_row(int token) const { return pairs ? pairs[first + token] : first + token; }
  __device__ std::int64_t x_row(int token) const { return pairs ? out_row(token) / pairs_per_row : first + token; }
};

__device__ __forceinline__ void copy_async(unsigned shared, const void* global, unsigned bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

template <Format F>
__device__ __forceinline__ Tile<F> read_tile(const std::byte* tile, int lane) {
  Tile<F> t;
  const auto part = [&](int i) { return *reinterpret_cast<const uint4*>(tile + i * 512 + lane * 16); };
  if constexpr (F == Format::nvfp4) {
    t.codes = part(0);
    t.scales = *reinterpret_cast<const std::uint16_t*>(tile + 512 + lane * 2);
  } else if constexpr (F == Format::fp8) {
    const uint4 lo = part(0), hi = part(1);
    t.words[0] = lo.x, t.words[1] = lo.y, t.words[2] = lo.z, t.words[3] = lo.w;
    t.words[4] = hi.x, t.words[5] = hi.y, t.words[6] = hi.z, t.words[7] = hi.w;
  } else {
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) t.words[kb] = part(kb);
  }
  return t;
}

__device__ __forceinline__ float activated(float v, bool relu_squared) {
  if (!relu_squared) return v;
  v = v > 0 ? v : 0;
  return v * v;
}

/// Sums of one warpgroup, turned around in `turned` ([token][kTurned]) to rows of 64 features, on their way out.
__device__ void store_rows(const LinearOutput& to, const Place& place, const float* turned, std::int64_t first_feature,
                           std::int64_t features, int thread) {
  const int part = thread % 16 * 4;
  const bool whole = first_feature + 64 <= features;
  const bool wide = whole && to.out && to.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(to.out) % 16 == 0;
  for (int token = thread / 16; token < place.count; token += 8) {
    const std::int64_t row = place.out_row(token);
    const float* sums = turned + token * kTurned;
    if (to.out) {
      float* out = to.out + row * to.stride + first_feature + part;
      const float4 v = *reinterpret_cast<const float4*>(sums + part);
      if (wide) {
        *reinterpret_cast<float4*>(out) = v;
      } else {
        const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (first_feature + part + i < features) out[i] = values[i];
      }
    }
    if (!to.rounded) continue;
    std::uint16_t* rounded = to.rounded + row * to.rounded_stride + first_feature;
    if (whole && to.interleaved) {  // four places in a row hold two pairs of columns, 16 apart
      const int column = deinterleaved(part);
      const float2 lo = *reinterpret_cast<const float2*>(sums + column);
      const float2 hi = *reinterpret_cast<const float2*>(sums + column + 16);
      *reinterpret_cast<uint2*>(rounded + part) = {pack_bf16x2(lo.x, lo.y), pack_bf16x2(hi.x, hi.y)};
    } else {
      for (int i = part; i < part + 4; ++i)
        if (first_feature + i < features) rounded[to.interleaved ? interleaved(i) : i] = bits_of_bf16(sums[i]);
    }
  }
}

/// kN: at least as many tokens as there are.
template <class P, int kN>
__device__ __forceinline__ void multiply(const LinearJob& job, const Place& place, std::byte* shared) {
  constexpr Format F = P::kFormat;
  constexpr int kStages = P::kStages, kTileBytes = static_cast<int>(tile_bytes(F));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4;
  const int col_tiles = static_cast<int>(job.bank.col_tiles());
  const int slice_tiles = P::kSliced ? static_cast<int>(job.bank.slice_tiles()) : col_tiles;
  const std::int64_t row_tile = static_cast<std::int64_t>(blockIdx.x) * P::kRowTiles + warp;
  std::byte* weights = shared + kStages * P::kTokenBytes + warp * kTileBytes;
  const auto shared_at = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const auto weights_at = static_cast<unsigned>(__cvta_generic_to_shared(weights));

  // A thread copies one 16-byte part of a token's 64 columns, of every kRowsApart-th token.
  constexpr int kRowsApart = P::kThreads / 8, kCopied = (kN + kRowsApart - 1) / kRowsApart;
  const int copied = threadIdx.x / 8, column = threadIdx.x % 8;
  const unsigned copied_to = shared_at + static_cast<unsigned>(copied * 128 + (column ^ (copied & 7)) * 16);
  const std::uint16_t* from[kCopied];
  unsigned bytes[kCopied];  // of each: 0 where there is no token
#pragma unroll
  for (int i = 0; i < kCopied; ++i) {
    const int token = copied + i * kRowsApart;
    const bool there = token < place.count;
    from[i] = job.x.data + (there ? place.x_row(token) : 0) * job.x.stride + column * 8;
    bytes[i] = there ? 16 : 0;
  }
  const bool has_rows = row_tile < job.bank.row_tiles();
  const std::byte* tiles = place.tiles + (has_rows ? row_tile : 0) * col_tiles * kTileBytes + lane * 16;
  const auto fetch = [&](int at, int stage) {
    if (at < col_tiles) {
      const unsigned to = copied_to + static_cast<unsigned>(stage * P::kTokenBytes);
#pragma unroll
      for (int i = 0; i < kCopied; ++i)
        if (kN % kRowsApart == 0 || copied + i * kRowsApart < kN)
          copy_async(to + static_cast<unsigned>(i * kRowsApart * 128), from[i] + at * kTileCols, bytes[i]);
      const std::byte* tile = tiles + at * kTileBytes;
      const unsigned tile_to = weights_at + static_cast<unsigned>(stage * P::kWeightBytes + lane * 16);
#pragma unroll
      for (int i = 0; i < kTileBytes; i += 512)
        if (i + 512 <= kTileBytes || lane * 16 < kTileBytes - i)
          copy_async(tile_to + static_cast<unsigned>(i), tile + i, has_rows ? 16 : 0);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  for (int i = 0; i < P::kAhead; ++i) fetch(i, i);

  float sum[kN / 2], total[P::kSliced ? kN / 2 : 1];
#pragma unroll
  for (int i = 0; i < kN / 2; ++i) sum[i] = 0;
  unsigned even[4][4], odd[4][4];                  // operands of one tile and the next
  int before = kStages - 1, stage = 0, after = 1;  // of the tile that is multiplied, and its neighbours
  // Decodes tile `at` of stage `in`; the stage of the tile before the last is free then.
  const auto decode = [&](int at, int in, int free, unsigned(&a)[4][4]) {
    asm volatile("cp.async.wait_group %0;" ::"n"(P::kAhead - 1) : "memory");
    fence_for_wgmma();
    __syncthreads();
    fetch(at + P::kAhead, free);
    const Tile<F> tile = read_tile<F>(weights + in * P::kWeightBytes, lane);
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) tile.fragment(kb, 0, a[kb]);
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) keep(a[kb]);
  };
  int left = slice_tiles;
  bool first = true;
  const std::uint64_t tokens = wgmma_rows(shared_at);
  // Multiplies tile `at` while the next one is decoded.
  const auto step = [&](int at, unsigned(&a)[4][4], unsigned(&next)[4][4]) {
    const std::uint64_t x = tokens + static_cast<unsigned>(stage * (P::kTokenBytes / 16));
    wgmma_fence();
#pragma unroll
    for (int kb = 0; kb < 4; ++kb)
      wgmma<kN>(sum, a[kb], x + static_cast<unsigned>(kb * 2), left < slice_tiles || kb > 0);
    wgmma_commit();
    if (at + 1 < col_tiles) decode(at + 1, after, before, next);
    before = stage;
    stage = after;
    after = after + 1 == kStages ? 0 : after + 1;
    wgmma_wait<0>();
    if (--left == 0 || at + 1 == col_tiles) {
      left = slice_tiles;
      if (P::kSliced)
#pragma unroll
        for (int i = 0; i < kN / 2; ++i) total[i] = first ? sum[i] : total[i] + sum[i];
      first = false;
    }
  };
  decode(0, 0, kStages - 2, even);
  for (int at = 0; at < col_tiles; at += 2) {
    step(at, even, odd);
    if (at + 1 < col_tiles) step(at + 1, odd, even);
  }

  __syncthreads();  // the stages are free
  float* turned = reinterpret_cast<float*>(shared) + group * kN * kTurned;
#pragma unroll
  for (int n = 0; n < kN / 8; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float v = (P::kSliced ? total[n * 4 + i] : sum[n * 4 + i]) * place.scale;
      turned[(n * 8 + lane % 4 * 2 + i % 2) * kTurned + warp % 4 * 16 + i / 2 * 8 + lane / 4] =
          activated(v, job.out.relu_squared);
    }
  __syncthreads();
  const std::int64_t first_feature = static_cast<std::int64_t>(blockIdx.x) * P::kRowTiles * 16 + group * 64;
  if (first_feature < job.bank.rows)
    store_rows(job.out, place, turned, first_feature, job.bank.rows, threadIdx.x % 128);
}

#endif

template <class P, bool kExperts>
__global__ void __launch_bounds__(P::kThreads, P::kBlocks) prefill_kernel(const __grid_constant__ Products p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ std::byte memory[];
  wait_for_predecessors();
  const LinearJob& job = p.job;
  Place place{
      job.bank.first.tiles, job.bank.first.scale, nullptr, static_cast<std::int64_t>(blockIdx.y) * kTokens, 0, 1};
  if (kExperts) {
    if (static_cast<int>(blockIdx.y) >= *p.items.items) return;
    const PackedMatrix matrix = job.bank.matrices[p.items.expert[blockIdx.y]];
    place = {matrix.tiles,         matrix.scale, p.items.pairs, p.items.first[blockIdx.y], p.items.count[blockIdx.y],
             p.items.pairs_per_row};
  } else {
    place.count = min(static_cast<std::int64_t>(kTokens), p.rows - place.first);
  }
  const auto unaligned = static_cast<unsigned>(__cvta_generic_to_shared(memory));
  std::byte* shared = memory + ((1024 - unaligned % 1024) % 1024);
  if (place.count <= 32) return multiply<P, 32>(job, place, shared);
  if (place.count <= 64) return multiply<P, 64>(job, place, shared);
  if (place.count <= 80) return multiply<P, 80>(job, place, shared);
  if (place.count <= 96) return multiply<P, 96>(job, place, shared);
  if (place.count <= 112) return multiply<P, 112>(job, place, shared);
  multiply<P, 128>(job, place, shared);
#endif
}

template <class P, bool kExperts>
void launch_plan(const Launch& to, const Products& p, unsigned items) {
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_kernel<P, kExperts>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    P::kSharedBytes));
    return true;
  }();
  static_cast<void>(once);
  const auto blocks = static_cast<unsigned>((p.job.bank.row_tiles() + P::kRowTiles - 1) / P::kRowTiles);
  launch(to, kExperts ? "prefill_kernel (experts)" : "prefill_kernel", prefill_kernel<P, kExperts>, dim3(blocks, items),
         P::kThreads, P::kSharedBytes, p);
}

/// Sums in slices take twice the registers: one block fills a multiprocessor. Without, two of them do.
template <Format F, bool kExperts>
void launch_format(const Launch& to, const Products& p, unsigned items, bool fast) {
  if (fast) return launch_plan<Plan<F, F == Format::bf16 ? 1 : 2, 2, false>, kExperts>(to, p, items);
  launch_plan<Plan<F, 4, 1, true>, kExperts>(to, p, items);
}

template <bool kExperts>
void launch_products(const Launch& to, const Products& p, unsigned items, bool fast) {
  switch (p.job.bank.first.format) {
    case Format::bf16:
      return launch_format<Format::bf16, kExperts>(to, p, items, fast);
    case Format::fp8:
      return launch_format<Format::fp8, kExperts>(to, p, items, fast);
    default:
      return launch_format<Format::nvfp4, kExperts>(to, p, items, fast);
  }
}

}  // namespace

void prefill_linear(const Launch& to, const LinearJob& job, std::int64_t rows, bool fast) {
  launch_products<false>(to, {job, rows, {}}, static_cast<unsigned>((rows + kTokens - 1) / kTokens), fast);
}

void prefill_experts(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                     const LinearOutput& out, bool fast) {
  launch_products<true>(to, {{bank, x, out}, 0, items}, static_cast<unsigned>(items.most_items), fast);
}

}  // namespace strata::cuda
