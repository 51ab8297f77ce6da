// Experts of few tokens each, in one go over K: a block makes 64 features a warpgroup of up to 128 tokens, and two
// blocks share a multiprocessor. Tiles of weights come to shared memory packed; each warp decodes its own into
// registers, as the matrix unit's first operand, while the unit still works on the tile before. Tokens are the second
// operand, from shared memory, where every thread has brought its part from the token's own row.
#include "backend/cuda/kernels/prefill_linear.h"
#include "backend/cuda/kernels/prefill_tiles.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

/// Warpgroups of a block, of 64 features each, and its tokens.
constexpr int kGroups = 2;
constexpr int kTokens = static_cast<int>(kPrefillFewRows);

/// kAhead: tiles whose copies are under way; two more are being multiplied.
template <Format F, int kAhead_>
struct Plan {
  static constexpr Format kFormat = F;
  static constexpr int kAhead = kAhead_, kStages = kAhead + 2;
  static constexpr int kThreads = 128 * kGroups, kRowTiles = 4 * kGroups;
  static constexpr int kTokenBytes = kTokens * 128, kWeightBytes = kRowTiles * static_cast<int>(tile_bytes(F));
  static constexpr int kTurnedBytes = kGroups * kTokens * kTurned * 4;
  static constexpr int kStagedBytes = kStages * (kTokenBytes + kWeightBytes);
  static constexpr int kSharedBytes = 1024 + (kStagedBytes > kTurnedBytes ? kStagedBytes : kTurnedBytes);
};

struct Products {
  PackedBank bank;
  Bf16Rows x;
  LinearOutput out;
  ExpertItems items;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Which rows of x and out a block has, and its matrix.
struct Place {
  const std::byte* tiles;
  float scale;
  const std::int32_t* pairs;
  std::int64_t first, count, pairs_per_row;
  __device__ std::int64_t out_row(int token) const { return pairs[first + token]; }
  __device__ std::int64_t x_row(int token) const { return out_row(token) / pairs_per_row; }
};

__device__ __forceinline__ void copy_async(unsigned shared, const void* global, unsigned bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

/// kN: at least as many tokens as there are.
template <class P, int kN>
__device__ __forceinline__ void multiply(const Products& p, const Place& place, std::byte* shared) {
  constexpr Format F = P::kFormat;
  constexpr int kStages = P::kStages, kTileBytes = static_cast<int>(tile_bytes(F));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4;
  const int col_tiles = static_cast<int>(p.bank.col_tiles());
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
    from[i] = p.x.data + (there ? place.x_row(token) : 0) * p.x.stride + column * 8;
    bytes[i] = there ? 16 : 0;
  }
  const bool has_rows = row_tile < p.bank.row_tiles();
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

  float sum[kN / 2];
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
  const std::uint64_t tokens = wgmma_rows(shared_at);
  // Multiplies tile `at` while the next one is decoded.
  const auto step = [&](int at, unsigned(&a)[4][4], unsigned(&next)[4][4]) {
    const std::uint64_t x = tokens + static_cast<unsigned>(stage * (P::kTokenBytes / 16));
    wgmma_fence();
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) wgmma<kN>(sum, a[kb], x + static_cast<unsigned>(kb * 2), at > 0 || kb > 0);
    wgmma_commit();
    if (at + 1 < col_tiles) decode(at + 1, after, before, next);
    before = stage;
    stage = after;
    after = after + 1 == kStages ? 0 : after + 1;
    wgmma_wait<0>();
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
      const float v = sum[n * 4 + i] * place.scale;
      turned[(n * 8 + lane % 4 * 2 + i % 2) * kTurned + warp % 4 * 16 + i / 2 * 8 + lane / 4] =
          activated(v, p.out.relu_squared);
    }
  __syncthreads();
  const std::int64_t first_feature = static_cast<std::int64_t>(blockIdx.x) * P::kRowTiles * 16 + group * 64;
  if (first_feature >= p.bank.rows) return;
  for (int token = 0; token < place.count; token += kTurnedTokens)
    store_rows(p.out, turned + token * kTurned, place.pairs + place.first + token, 0,
               static_cast<int>(place.count) - token, first_feature, p.bank.rows);
}

#endif

template <class P>
__global__ void __launch_bounds__(P::kThreads, 2) prefill_few_kernel(const __grid_constant__ Products p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ std::byte memory[];
  wait_for_predecessors();
  if (static_cast<int>(blockIdx.y) >= *p.items.items) return;
  const PackedMatrix matrix = p.bank.matrices[p.items.expert[blockIdx.y]];
  const Place place{
      matrix.tiles,         matrix.scale, p.items.pairs, p.items.first[blockIdx.y], p.items.count[blockIdx.y],
      p.items.pairs_per_row};
  const auto unaligned = static_cast<unsigned>(__cvta_generic_to_shared(memory));
  std::byte* shared = memory + ((1024 - unaligned % 1024) % 1024);
  if (place.count <= 32) return multiply<P, 32>(p, place, shared);
  if (place.count <= 64) return multiply<P, 64>(p, place, shared);
  if (place.count <= 80) return multiply<P, 80>(p, place, shared);
  if (place.count <= 96) return multiply<P, 96>(p, place, shared);
  if (place.count <= 112) return multiply<P, 112>(p, place, shared);
  multiply<P, 128>(p, place, shared);
#endif
}

template <Format F>
void launch_format(const Launch& to, const Products& p) {
  using P = Plan<F, F == Format::bf16 ? 1 : 2>;
  static const bool once = [] {
    CUDA_CHECK(
        cudaFuncSetAttribute(prefill_few_kernel<P>, cudaFuncAttributeMaxDynamicSharedMemorySize, P::kSharedBytes));
    return true;
  }();
  static_cast<void>(once);
  const auto blocks = static_cast<unsigned>((p.bank.row_tiles() + P::kRowTiles - 1) / P::kRowTiles);
  launch(to, "prefill_few_kernel", prefill_few_kernel<P>, dim3(blocks, static_cast<unsigned>(p.items.most_items)),
         P::kThreads, P::kSharedBytes, p);
}

}  // namespace

void prefill_few_experts(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                         const LinearOutput& out) {
  const Products p{bank, x, out, items};
  switch (bank.first.format) {
    case Format::bf16:
      return launch_format<Format::bf16>(to, p);
    case Format::fp8:
      return launch_format<Format::fp8>(to, p);
    default:
      return launch_format<Format::nvfp4>(to, p);
  }
}

}  // namespace strata::cuda
