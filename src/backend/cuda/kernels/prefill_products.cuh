// Clusters of two blocks walk over pieces of 256 features by up to 256 tokens. In a block one warp asks the copy engine
// for what comes next: packed tiles of weights, and tokens, of which each block brings half and both get all. Two
// warpgroups have 64 features each: they decode their tiles into registers, as the matrix unit's first operand, and
// multiply, each at its own pace, so that the unit works for one while the other decodes. Hopper's wide instruction
// sums 16 columns as mma.m16n8k16 does, so with the slices of linear.cu a row's bits are the same.
#pragma once

#include <algorithm>
#include <utility>

#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/pipeline.cuh"
#include "backend/cuda/kernels/prefill_products.h"
#include "backend/cuda/kernels/prefill_tiles.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

/// Registers of a thread that asks for copies, and of one that multiplies.
constexpr int kFewRegisters = 40, kManyRegisters = 232;
/// Tokens that there is code for, as `prefill_tokens` chooses from; where experts are many and have few tokens each, of
/// more sizes.
template <bool kSliced, bool kMany>
struct Sizes {
  using Tokens = std::integer_sequence<int, 64, 128, 192, 256>;
};
template <>
struct Sizes<true, false> {
  using Tokens = std::integer_sequence<int, 64, 128, 160>;
};
template <>
struct Sizes<false, true> {
  using Tokens = std::integer_sequence<int, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256>;
};
template <>
struct Sizes<true, true> {
  using Tokens = std::integer_sequence<int, 32, 48, 64, 80, 96, 112, 128, 144, 160>;
};

/// kSliced: K in slices, whose totals take as many registers as the sums. kMost: tokens of a piece.
template <Format F, bool kSliced_, bool kExperts_>
struct Plan {
  static constexpr Format kFormat = F;
  static constexpr bool kSliced = kSliced_, kExperts = kExperts_;
  static constexpr int kMost = static_cast<int>(prefill_item_rows(!kSliced));
  static constexpr bool kManySizes = kExperts && F == Format::nvfp4;
  /// Tokens that there is code for.
  using Tokens = typename Sizes<kSliced, kManySizes>::Tokens;
  static constexpr int kTileBytes = static_cast<int>(tile_bytes(F));
  static constexpr int kTokenBytes = kMost * 128, kWeightBytes = kBlockRowTiles * kTileBytes;
  static constexpr int kTurnedBytes = kGroups * kTurnedTokens * kTurned * 4, kRowBytes = kGroups * kMost * 4;
  static constexpr int kLeft = 227 * 1024 - 1024 - kTurnedBytes - kRowBytes - 256;
  static constexpr int kStages = kLeft / (kTokenBytes + kWeightBytes) < 8 ? kLeft / (kTokenBytes + kWeightBytes) : 8;
  static constexpr int kTurnedAt = kStages * (kTokenBytes + kWeightBytes), kRowsAt = kTurnedAt + kTurnedBytes;
  static constexpr int kBarriersAt = kRowsAt + kRowBytes;
  static constexpr int kSharedBytes = 1024 + kBarriersAt + 256;
  static_assert(kStages >= 3);
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// A piece: a matrix, the features of this cluster, and which rows of x and out.
struct Place {
  int matrix;
  float scale;
  int features;  // piece of them
  std::int64_t first;
  int count;
};

template <bool kExperts>
__device__ __forceinline__ int count_pieces(const PrefillProducts& p) {
  return (kExperts ? *p.items.items : p.pieces) * p.feature_pieces;
}

template <bool kExperts>
__device__ __forceinline__ Place place_of(const PrefillProducts& p, int piece) {
  const int item = piece / p.feature_pieces, features = piece % p.feature_pieces;
  if constexpr (kExperts) {
    const int matrix = p.items.expert[item];
    return {matrix, p.bank.matrices[matrix].scale, features, p.items.first[item], p.items.count[item]};
  } else {
    const std::int64_t first = static_cast<std::int64_t>(item) * p.tokens;
    return {0, p.bank.first.scale, features, first,
            static_cast<int>(min(static_cast<std::int64_t>(p.tokens), p.rows - first))};
  }
}

/// Tokens that are multiplied where there are `count`.
__device__ __forceinline__ int padded_tokens(int count) {
  return max(kBoxRows, (count + kTokenStep - 1) / kTokenStep * kTokenStep);
}

/// The stage that comes next, and the phase of its barriers.
struct Ring {
  int stage = 0;
  unsigned phase = 0;
  template <int kStages>
  __device__ __forceinline__ Ring next() const {
    return stage + 1 == kStages ? Ring{0, phase ^ 1} : Ring{stage + 1, phase};
  }
};

/// Addresses in shared memory of what the stages hold.
template <class P>
struct Stages {
  unsigned at;
  __device__ __forceinline__ unsigned tokens(int stage) const {
    return at + static_cast<unsigned>(stage * P::kTokenBytes);
  }
  __device__ __forceinline__ unsigned weights(int stage) const {
    return at + static_cast<unsigned>(P::kStages * P::kTokenBytes + stage * P::kWeightBytes);
  }
  __device__ __forceinline__ unsigned full(int stage) const {
    return at + static_cast<unsigned>(P::kBarriersAt + stage * 16);
  }
  __device__ __forceinline__ unsigned empty(int stage) const { return full(stage) + 8; }
};

/// One warp: asks for the stages of all pieces, as they become free.
template <class P>
__device__ __forceinline__ void bring(const PrefillProducts& p, const Stages<P>& stages, int rank, int cluster,
                                      int clusters) {
  const int lane = threadIdx.x % 32, col_tiles = static_cast<int>(p.bank.col_tiles());
  const int pieces = count_pieces<P::kExperts>(p);
  constexpr unsigned kAll = (1u << kCluster) - 1;
  constexpr int kWeightsLane = 31;
  Ring ring;
  for (int piece = cluster; piece < pieces; piece += clusters) {
    const Place place = place_of<P::kExperts>(p, piece);
    const int tokens = padded_tokens(place.count), boxes = tokens / kBoxRows;
    const int first_tile = place.features * kClusterRowTiles + rank * kBlockRowTiles;
    const auto bytes = static_cast<unsigned>(tokens * 128 + P::kWeightBytes);
    const bool brings_box = lane < boxes && lane % kCluster == rank;
    const bool brings_last = lane == boxes && tokens % kBoxRows != 0 && lane % kCluster == rank;
    const int row = static_cast<int>(place.first) + lane * kBoxRows;
    for (int k = 0; k < col_tiles; ++k) {
      barrier_wait(stages.empty(ring.stage), ring.phase ^ 1);
      const unsigned full = stages.full(ring.stage);
      if (lane == kWeightsLane) {
        barrier_expect(full, bytes);
        copy_box(stages.weights(ring.stage), p.tiles, k * (P::kTileBytes / 8), first_tile, place.matrix, full);
      }
      __syncwarp();
      const unsigned to = stages.tokens(ring.stage) + static_cast<unsigned>(lane * kBoxRows * 128);
      if (brings_box) copy_box(to, p.boxes, k * static_cast<int>(kTileCols), row, full, kAll);
      if (brings_last) copy_box(to, p.last_box, k * static_cast<int>(kTileCols), row, full, kAll);
      ring = ring.template next<P::kStages>();
    }
  }
}

/// One warp's part in its warpgroup's share of a piece. kN: padded_tokens of its tokens. Returns where the ring is.
template <class P, int kN>
__device__ __forceinline__ Ring multiply(const PrefillProducts& p, const Place& place, std::byte* shared,
                                         const Stages<P>& stages, Ring ring, int rank) {
  constexpr Format F = P::kFormat;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4;
  const int col_tiles = static_cast<int>(p.bank.col_tiles());
  const int slice_tiles = P::kSliced ? static_cast<int>(p.bank.slice_tiles()) : col_tiles;
  const std::int64_t first_feature =
      static_cast<std::int64_t>(place.features * kClusterRowTiles + rank * kBlockRowTiles + group * 4) * kTileRows;
  const auto release = [&](int stage) {
    if (lane < kCluster) barrier_arrive(stages.empty(stage), static_cast<unsigned>(lane));
  };
  if (first_feature >= p.bank.rows) {  // nothing to multiply, but the stages are everyone's
    for (int k = 0; k < col_tiles; ++k) {
      barrier_wait(stages.full(ring.stage), ring.phase);
      release(ring.stage);
      ring = ring.template next<P::kStages>();
    }
    return ring;
  }
  const bool scatters = P::kExperts && p.items.pairs != nullptr;
  int* out_rows = reinterpret_cast<int*>(shared + P::kRowsAt) + group * P::kMost;
  if (scatters)
    for (int i = threadIdx.x % 128; i < place.count; i += 128) out_rows[i] = p.items.pairs[place.first + i];

  const std::byte* weights = shared + P::kStages * P::kTokenBytes + warp * P::kTileBytes;
  float sum[kN / 2], total[P::kSliced ? kN / 2 : 1];
#pragma unroll
  for (int i = 0; i < kN / 2; ++i) {
    sum[i] = 0;
    if (P::kSliced) total[i] = -0.0f;  // added to anything, it leaves that as it was, -0 too
  }
  unsigned even[4][4], odd[4][4];  // operands of one tile and the next
  const auto decode = [&](Ring at, unsigned(&a)[4][4]) {
    barrier_wait(stages.full(at.stage), at.phase);
    const Tile<F> tile = read_tile<F>(weights + at.stage * P::kWeightBytes, lane);
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) tile.fragment(kb, 0, a[kb]);
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) keep(a[kb]);
  };
  int left = slice_tiles;
  // Multiplies tile k while the next one is decoded.
  const auto step = [&](int k, unsigned(&a)[4][4], unsigned(&next)[4][4]) {
    const std::uint64_t x = wgmma_rows(stages.tokens(ring.stage));
    wgmma_fence();
#pragma unroll
    for (int kb = 0; kb < 4; ++kb)
      wgmma<kN>(sum, a[kb], x + static_cast<unsigned>(kb * 2), left < slice_tiles || kb > 0);
    wgmma_commit();
    const Ring after = ring.template next<P::kStages>();
    if (k + 1 < col_tiles) decode(after, next);
    wgmma_wait<0>();
    release(ring.stage);
    ring = after;
    if (--left == 0 || k + 1 == col_tiles) {
      left = slice_tiles;
      if (P::kSliced)
#pragma unroll
        for (int i = 0; i < kN / 2; ++i) total[i] += sum[i];
    }
  };
  decode(ring, even);
  for (int k = 0; k < col_tiles; k += 2) {
    step(k, even, odd);
    if (k + 1 < col_tiles) step(k + 1, odd, even);
  }

  float* turned = reinterpret_cast<float*>(shared + P::kTurnedAt) + group * kTurnedTokens * kTurned;
#pragma unroll
  for (int token = 0; token < kN; token += kTurnedTokens) {
#pragma unroll
    for (int n = token / 8; n < (token + kTurnedTokens) / 8 && n < kN / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        turned[(n * 8 - token + lane % 4 * 2 + i % 2) * kTurned + warp % 4 * 16 + i / 2 * 8 + lane / 4] =
            activated((P::kSliced ? total[n * 4 + i] : sum[n * 4 + i]) * place.scale, p.out.relu_squared);
    named_barrier(1 + group, 128);
    store_rows(p.out, turned, scatters ? out_rows + token : nullptr, place.first + token, place.count - token,
               first_feature, p.bank.rows);
    named_barrier(1 + group, 128);
  }
  return ring;
}

/// Calls f with the first of kNs that is `tokens` or more; they ascend.
template <int kN, int... kNs, class Call>
__device__ __forceinline__ Ring with_tokens(std::integer_sequence<int, kN, kNs...>, int tokens, Call&& f) {
  if constexpr (sizeof...(kNs) > 0)
    if (tokens > kN) return with_tokens(std::integer_sequence<int, kNs...>(), tokens, f);
  return f.template operator()<kN>();
}

#endif

template <class P>
__global__ void __launch_bounds__(kThreads, 1) prefill_kernel(const __grid_constant__ PrefillProducts p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ std::byte memory[];
  const auto unaligned = static_cast<unsigned>(__cvta_generic_to_shared(memory));
  std::byte* shared = memory + ((1024 - unaligned % 1024) % 1024);
  const Stages<P> stages{static_cast<unsigned>(__cvta_generic_to_shared(shared))};
  const int rank = static_cast<int>(blockIdx.x % kCluster), cluster = static_cast<int>(blockIdx.x / kCluster);
  const int clusters = static_cast<int>(gridDim.x / kCluster);
  if (threadIdx.x == 0) {
    for (int i = 0; i < P::kStages; ++i) {
      barrier_init(stages.full(i), 1);
      barrier_init(stages.empty(i), kCluster * kGroups * 4);
    }
    barriers_are_made();
  }
  cluster_arrive();
  wait_for_predecessors();
  cluster_wait();
  if (threadIdx.x >= 128 * kGroups) {
    give_registers<kFewRegisters>();
    if (threadIdx.x < 128 * kGroups + 32) bring<P>(p, stages, rank, cluster, clusters);
    __syncwarp();
  } else {
    take_registers<kManyRegisters>();
    const int pieces = count_pieces<P::kExperts>(p);
    Ring ring;
    Place place{};
    if (cluster < pieces) place = place_of<P::kExperts>(p, cluster);
    for (int piece = cluster; piece < pieces; piece += clusters) {
      Place next{};
      if (piece + clusters < pieces) next = place_of<P::kExperts>(p, piece + clusters);
      ring = with_tokens(typename P::Tokens(), padded_tokens(place.count),
                         [&]<int kN>() { return multiply<P, kN>(p, place, shared, stages, ring, rank); });
      place = next;
    }
  }
  cluster_arrive();  // a block's shared memory is there until its neighbour is done
  cluster_wait();
#endif
}

template <class P>
void launch_plan(const Launch& to, const PrefillProducts& p, std::int64_t most_pieces) {
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_kernel<P>, cudaFuncAttributeMaxDynamicSharedMemorySize, P::kSharedBytes));
    return true;
  }();
  static_cast<void>(once);
  const std::int64_t clusters = std::min<std::int64_t>(to.processors / kCluster, most_pieces);
  launch_clusters(to, P::kExperts ? "prefill_kernel (experts)" : "prefill_kernel", prefill_kernel<P>,
                  dim3(static_cast<unsigned>(clusters * kCluster)), kCluster, kThreads, P::kSharedBytes, p);
}

}  // namespace

template <Format F>
void launch_prefill(const Launch& to, const PrefillProducts& p, std::int64_t most_pieces, bool fast) {
  const bool experts = p.items.items != nullptr;
  if (fast && experts) return launch_plan<Plan<F, false, true>>(to, p, most_pieces);
  if (fast) return launch_plan<Plan<F, false, false>>(to, p, most_pieces);
  if (experts) return launch_plan<Plan<F, true, true>>(to, p, most_pieces);
  launch_plan<Plan<F, true, false>>(to, p, most_pieces);
}

}  // namespace strata::cuda
