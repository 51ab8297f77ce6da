// out = x W^T for few rows: a block a row tile, a warp a slice of K; the block adds the slices in order. One token uses
// the same weight bytes as 8.
#include <algorithm>

#include "backend/cuda/kernels/few_rows.h"
#include "backend/cuda/kernels/products.cuh"
#include "backend/cuda/kernels/router.cuh"
#include "base/check.h"

namespace strata::cuda {

namespace {

constexpr int kThreads = 32 * kSlices;
constexpr int kMostRouterCols = 4096, kMostRouterPairs = 512;

enum class Kind { dense, router, experts, token };  // token: the experts of a single one

struct FewRows {
  Products products;
  NormJob norm;
  RouterJob router;
  std::int32_t blocks = 0;         // of the products
  std::int32_t router_blocks = 0;  // before those of the product
  bool beside = false;             // blocks of y = 0 take jobs[1]
};

/// How many tiles of weights and inputs a warp has under way, and blocks that a multiprocessor must have room for.
template <int kTiles, int kInputs, int kBlocks>
struct Tuning {
  static constexpr int tiles = kTiles, inputs = kInputs, blocks = kBlocks;
};

/// One warp's slice of one row tile. `ready` is called once, between the first loads of weights and those of x.
template <Format F, int kN, class T, class Ready>
__device__ __forceinline__ void multiply_slice(const std::byte* tiles, int count, const std::uint16_t* const (&x)[kN],
                                               int lane, float (&sum)[kN][4], Ready&& ready) {
  static_assert(T::tiles % T::inputs == 0);
  Tile<F> tile[T::tiles];
  Inputs input[T::inputs][kN];
  const auto load_inputs = [&](int i, int at) {
#pragma unroll
    for (int n = 0; n < kN; ++n) input[i][n].load(x[n] + at * kTileCols, x[n] != nullptr);
  };
#pragma unroll
  for (int i = 0; i < T::tiles; ++i)
    if (i < count) tile[i].load(tiles + i * tile_bytes(F), lane);
  ready();
#pragma unroll
  for (int i = 0; i < T::inputs; ++i)
    if (i < count) load_inputs(i, i);
  for (int at = 0; at < count; at += T::tiles) {
#pragma unroll
    for (int i = 0; i < T::tiles; ++i) {
      if (at + i >= count) break;
      multiply_tile<F, kN>(tile[i], input[i % T::inputs], sum);
      if (at + i + T::tiles < count) tile[i].load(tiles + (at + i + T::tiles) * tile_bytes(F), lane);
      if (at + i + T::inputs < count) load_inputs(i % T::inputs, at + i + T::inputs);
    }
  }
}

/// One row's norm by a block, with the sums of the kernel that takes a row with four times the threads (rows.cu): a
/// thread is four of its threads. Calls put(column, value). `ready` is called between the loads of weights and of x.
template <class Ready, class Put>
__device__ __forceinline__ void make_norm(const NormJob& norm, Ready&& ready, Put&& put) {
  constexpr int kEach = kMostNormCols / kThreads, kParts = 4;
  __shared__ float part_sums[32];
  const int n = static_cast<int>(norm.cols);
  float weights[kEach], kept[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int c = threadIdx.x + i * kThreads;
    weights[i] = c < n ? norm.weight[c] : 0.0f;
  }
  ready();
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int c = threadIdx.x + i * kThreads;
    kept[i] = c < n ? norm.x[c] : 0.0f;
  }
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    float squares = 0;
#pragma unroll
    for (int i = part; i < kEach; i += kParts) squares = fmaf(kept[i], kept[i], squares);
    squares = warp_sum(squares);
    if (threadIdx.x % 32 == 0) part_sums[part * (kThreads / 32) + threadIdx.x / 32] = squares;
  }
  __syncthreads();
  const float mean = warp_sum(part_sums[threadIdx.x % 32]) / static_cast<float>(norm.cols);
  const float scale = 1.0f / sqrtf(mean + norm.eps);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int c = threadIdx.x + i * kThreads;
    if (c < n) put(c, kept[i] * scale * weights[i]);
  }
}

/// The block that is last to get here; one thread's count of the others.
__device__ bool is_last(unsigned* arrived, unsigned blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned before;
    asm volatile("atom.add.acq_rel.gpu.global.u32 %0,[%1],1;" : "=r"(before) : "l"(arrived) : "memory");
    last = before + 1 == blocks;
    if (last) *arrived = 0;
  }
  __syncthreads();
  return last;
}

/// Groups the pairs of at most 8 tokens by expert, whose ids lie in shared memory: an expert has one item.
__device__ void group_few(const std::int32_t* ids, std::int32_t* first_of_expert, int pairs,
                          const GroupMemory& memory) {
  for (int p = threadIdx.x; p < pairs; p += kThreads) {
    bool first = true;
    for (int q = 0; q < p; ++q) first = first && ids[q] != ids[p];
    first_of_expert[p] = first;
  }
  __syncthreads();
  for (int p = threadIdx.x; p < pairs; p += kThreads) {
    int lower = 0, equal = 0, equal_before = 0, item = 0;
    for (int q = 0; q < pairs; ++q) {
      const bool less = ids[q] < ids[p], same = ids[q] == ids[p];
      lower += less, equal += same, equal_before += same && q < p, item += less && first_of_expert[q];
    }
    memory.pairs[lower + equal_before] = p;
    if (!first_of_expert[p]) continue;
    memory.item_expert[item] = ids[p];
    memory.item_first[item] = lower;
    memory.item_count[item] = equal;
    if (lower + equal == pairs) *memory.items = item + 1;
  }
}

/// A block makes 8 logits of a token, a warp each; the last of them chooses for all tokens.
template <bool kNormed>
__device__ void run_router(const RouterJob& r, const NormJob& norm, int rows, int blocks) {
  constexpr int kTogether =
      kNormed ? 11 : 7;  // loads of a lane under way; the rest comes to the second-level cache meanwhile
  __shared__ float4 x[kMostRouterCols / 4];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, cols4 = static_cast<int>(r.cols) / 4;
  const int experts = static_cast<int>(r.shape.experts), row_blocks = blocks / rows;
  const int row = blockIdx.x / row_blocks, expert = blockIdx.x % row_blocks * (kThreads / 32) + warp;
  const auto* w = reinterpret_cast<const float4*>(r.w + min(expert, experts - 1) * r.cols);
  float4 weights[kTogether];
  const auto load = [&](int first) {
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int c = first + i * 32 + lane;
      if (c < cols4) weights[i] = w[c];
    }
  };
  load(0);
  for (int c = kTogether * 32 + lane * 8; c < cols4; c += 32 * 8) asm volatile("prefetch.global.L2 [%0];" ::"l"(w + c));
  if (kNormed) {
    make_norm(
        norm, [] { wait_for_predecessors(); }, [&](int c, float v) { reinterpret_cast<float*>(x)[c] = v; });
  } else {
    wait_for_predecessors();
    for (int c = threadIdx.x; c < cols4; c += kThreads)
      x[c] = reinterpret_cast<const float4*>(r.x.data + row * r.x.stride)[c];
  }
  __syncthreads();
  float sum = 0;
  for (int first = 0; first < cols4; first += kTogether * 32) {
    if (first > 0) load(first);
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int c = first + i * 32 + lane;
      if (c < cols4) sum = add_products(sum, x[c], weights[i]);
    }
  }
  sum = warp_sum(sum);
  if (lane == 0 && expert < experts) r.logits.data[row * r.logits.stride + expert] = sum;
  if (!is_last(r.arrived, static_cast<unsigned>(blocks))) return;

  auto* ids = reinterpret_cast<std::int32_t*>(x);  // of all pairs, then whether each is the first of its expert
  const int chosen = static_cast<int>(r.shape.chosen);
  if (warp < rows) {
    const auto logit = [&](int e) { return __ldcg(r.logits.data + warp * r.logits.stride + e); };
    const auto put = [&](int place, int e, float weight) {
      r.ids[warp * r.ids_stride + place] = e;
      r.weights.data[warp * r.weights.stride + place] = weight;
      ids[warp * chosen + place] = e;
    };
    experts <= kFewExperts / 2 ? choose_experts<4>(r.shape, r.bias, logit, put)
                               : choose_experts<8>(r.shape, r.bias, logit, put);
  }
  if (rows == 1) return;
  __syncthreads();
  group_few(ids, ids + kMostRouterPairs, rows * chosen, r.groups);
}

// Blocks of 256 threads for which there are 40 registers each; sm_120's code takes some more.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr int kMostBlocks = 5;
#else
constexpr int kMostBlocks = 6;
#endif

/// kMixed: the format is looked up, else it is F.
template <Format F, bool kMixed, int kN, Kind kKind, bool kNormed, class T>
__global__ void __launch_bounds__(kThreads, std::min(T::blocks, kMostBlocks))
    few_rows_kernel(const __grid_constant__ FewRows few) {
  __shared__ float sums[kSlices][kN * 8 * kTileRows];
  const Products& p = few.products;
  const int lane = threadIdx.x % 32, slice = threadIdx.x / 32;
  int block = blockIdx.x, job = 0;
  if (kKind == Kind::router) {
    if (block < few.router_blocks)
      return run_router<kNormed>(few.router, few.norm, static_cast<int>(p.rows), few.router_blocks);
    block -= few.router_blocks;
  }
  if (kKind == Kind::dense)
    while (job + 1 < Products::kMostJobs && block >= p.first_block[job + 1]) ++job;
  constexpr bool kExperts = kKind == Kind::experts || kKind == Kind::token, kSingle = kKind == Kind::token;
  const bool of_experts = kExperts && !(few.beside && blockIdx.y == 0);
  if (kExperts && !of_experts) job = 1;
  const PackedBank& bank = p.jobs[job].bank;
  const int row_tile = kKind == Kind::dense ? block - p.first_block[job] : block;
  const int col_tiles = static_cast<int>(bank.col_tiles()), slice_tiles = static_cast<int>(bank.slice_tiles());
  const int first_tile = slice * slice_tiles;
  const int count = min(slice_tiles, col_tiles - first_tile);

  int expert = 0, first_row = 0, rows;  // first_row: of a dense product, or into `pairs`
  const auto read = [&](const std::int32_t* at) { return p.items.known ? __ldcg(at) : *at; };
  bool waited = false;
  if (of_experts) {
    const ExpertItems& items = p.items;
    if (!items.known) wait_for_predecessors();
    waited = !items.known;
    const int item = static_cast<int>(blockIdx.y) - few.beside;
    if (!kSingle && item >= read(items.items)) return;
    expert = read(items.expert + item);
    first_row = item, rows = 1;
    if (!kSingle) first_row = read(items.first + item), rows = read(items.count + item);
  } else {
    first_row = kKind == Kind::dense ? static_cast<int>(blockIdx.y) * kN * 8 : 0;
    rows = min(kN * 8, static_cast<int>(p.rows) - first_row);
  }
  const auto out_row = [&](int column) {
    return of_experts && !kSingle ? read(p.items.pairs + first_row + column) : first_row + column;
  };
  const Bf16Rows& in = p.jobs[job].x;
  __shared__ alignas(16) std::uint16_t normed[kNormed ? kMostNormCols : 1];
  const std::uint16_t* x[kN];
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const int column = n * 8 + lane / 4;
    x[n] = nullptr;
    if (column >= rows || count <= 0) continue;
    int row = out_row(column);
    if (of_experts) row = kSingle && p.items.pairs_per_row > 1 ? 0 : row / static_cast<int>(p.items.pairs_per_row);
    x[n] = (kNormed ? normed : in.data + row * in.stride) + first_tile * kTileCols + lane % 4 * 16;
  }
  float sum[kN][4] = {};
  const float scale = of_experts ? bank.matrices[expert].scale : bank.first.scale;
  const auto run = [&]<Format G>() {
    // The address of a uniform bank's matrix needs no look-up, which the loads of weights would wait for.
    const std::byte* matrix = !of_experts ? bank.first.tiles
                              : kMixed    ? bank.matrices[expert].tiles
                                          : bank.first.tiles + expert * bank.matrix_bytes;
    const std::byte* tiles = matrix + (static_cast<std::int64_t>(row_tile) * col_tiles + first_tile) * tile_bytes(G);
    multiply_slice<G, kN, T>(tiles, count, x, lane, sum, [&] {
      if (!kNormed) {
        if (!waited) wait_for_predecessors();
        return;
      }
      // One of the blocks makes what later kernels read.
      const NormJob& norm = few.norm;
      const bool writes = block == 0;
      make_norm(
          norm, [] { wait_for_predecessors(); },
          [&](int c, float v) {
            normed[c] = bits_of_bf16(v);
            if (!writes) return;
            norm.out[c] = v;
            norm.rounded.data[c] = normed[c];
          });
      for (int c = static_cast<int>(norm.cols + threadIdx.x); c < norm.rounded.stride; c += kThreads) {
        normed[c] = 0;
        if (writes) norm.rounded.data[c] = 0;
      }
      __syncthreads();
    });
  };
  if (!kMixed) {
    run.template operator()<F>();
  } else {
    switch (of_experts ? bank.matrices[expert].format : bank.first.format) {
      case Format::bf16:
        run.template operator()<Format::bf16>();
        break;
      case Format::fp8:
        run.template operator()<Format::fp8>();
        break;
      case Format::nvfp4:
        run.template operator()<Format::nvfp4>();
        break;
      case Format::f32:
        run.template operator()<Format::f32>();
        break;
    }
  }
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    float* at = sums[slice] + (n * 8 + lane % 4 * 2) * kTileRows + lane / 4;
    at[0] = sum[n][0], at[kTileRows] = sum[n][1], at[8] = sum[n][2], at[kTileRows + 8] = sum[n][3];
  }
  __syncthreads();
  const int slices = (col_tiles + slice_tiles - 1) / slice_tiles;
  for (int i = threadIdx.x; i < kN * 8 * kTileRows; i += kThreads) {
    const int column = i / kTileRows;
    const int feature = row_tile * static_cast<int>(kTileRows) + i % static_cast<int>(kTileRows);
    if (column >= rows || feature >= bank.rows) continue;
    float total = sums[0][i];
    for (int s = 1; s < slices; ++s) total += sums[s][i];
    store(p.jobs[job].out, out_row(column), feature, total * scale);
  }
}

template <Format F, int kN>
constexpr int plain_tiles() {
  return F == Format::f32 || kN >= 4 || (F == Format::bf16 && kN > 1) ? 1 : 2;
}
template <Format F, bool kMixed, int kN>
using PlainTuning = Tuning<plain_tiles<F, kN>(), plain_tiles<F, kN>(),
                           (kMixed || kN > 2               ? 2
                            : kN == 2 || F == Format::bf16 ? 3
                                                           : 4)>;

/// Calls f with a tuning for up to 8 rows, measured on an H100. `alone`: no more blocks than two a multiprocessor, each
/// of which then has to keep memory busy by itself; else the more blocks there is room for at a time, the better.
template <Format F, bool kMixed, Kind kKind, bool kNormed, class Call>
void with_tuning(bool alone, Call&& f) {
  if constexpr (kMixed) {
    f.template operator()<PlainTuning<F, kMixed, 1>>();
  } else if constexpr (kKind == Kind::router) {
    constexpr int kTiles = F == Format::fp8 ? 1 : 2;
    f.template operator()<Tuning<kTiles, kTiles, 2>>();  // registers for the router's weights
  } else if constexpr (kNormed) {
    f.template operator()<Tuning<F == Format::bf16 ? 4 : 8, 2, 2>>();
  } else if constexpr ((kKind == Kind::token || kKind == Kind::experts) && F == Format::nvfp4) {
    f.template operator()<Tuning<1, 1, 5>>();
  } else if constexpr (kKind == Kind::dense && F == Format::nvfp4) {
    alone ? f.template operator()<Tuning<8, 2, 2>>() : f.template operator()<Tuning<1, 1, 6>>();
  } else if constexpr (kKind == Kind::dense && F == Format::bf16) {
    alone ? f.template operator()<Tuning<2, 2, 3>>() : f.template operator()<Tuning<4, 2, 2>>();
  } else {
    f.template operator()<PlainTuning<F, kMixed, 1>>();
  }
}

template <Kind kKind, bool kNormed = false>
void launch_eight(const Launch& to, const char* name, const FewRows& p, dim3 grid) {
  const bool alone = grid.x <= 2u * static_cast<unsigned>(to.processors);
  with_format(p.products.jobs[0].bank, [&]<Format F, bool kMixed>() {
    with_tuning<F, kMixed, kKind, kNormed>(alone, [&]<class T>() {
      launch(to, name, few_rows_kernel<F, kMixed, 1, kKind, kNormed, T>, grid, kThreads, 0, p);
    });
  });
}

template <int kN>
void launch_more(const Launch& to, const FewRows& p, dim3 grid) {
  with_format(p.products.jobs[0].bank, [&]<Format F, bool kMixed>() {
    launch(to, "few_rows_kernel", few_rows_kernel<F, kMixed, kN, Kind::dense, false, PlainTuning<F, kMixed, kN>>, grid,
           kThreads, 0, p);
  });
}

/// The items of jobs[0], and jobs[1] beside them if there is one.
void launch_experts(const Launch& to, const FewRows& few) {
  const ExpertItems& items = few.products.items;
  const dim3 grid(static_cast<unsigned>(few.products.jobs[0].bank.row_tiles()),
                  static_cast<unsigned>(items.most_items + few.beside));
  if (items.single) return launch_eight<Kind::token>(to, "few_rows_kernel (a token's experts)", few, grid);
  launch_eight<Kind::experts>(to, "few_rows_kernel (experts)", few, grid);
}

/// Jobs side by side in grid.x.
FewRows side_by_side(const LinearJob* jobs, int count, std::int64_t rows) {
  CHECK(count <= Products::kMostJobs && rows <= kFewRows, "products of one launch");
  FewRows few{};
  Products& p = few.products;
  p.rows = rows;
  std::int32_t blocks = 0;
  for (int j = 0; j <= Products::kMostJobs; ++j) {
    p.first_block[j] = j <= count ? blocks : 0x7fffffff;
    if (j >= count) continue;
    p.jobs[j] = jobs[j];
    blocks += static_cast<std::int32_t>(jobs[j].bank.row_tiles());
  }
  few.blocks = blocks;
  return few;
}

}  // namespace

void linear_few(const Launch& to, const LinearJob* jobs, int count, std::int64_t rows) {
  const FewRows few = side_by_side(jobs, count, rows);
  const auto grid = static_cast<unsigned>(few.blocks);
  if (rows <= 8) return launch_eight<Kind::dense>(to, "few_rows_kernel", few, dim3(grid));
  if (rows <= 16) return launch_more<2>(to, few, dim3(grid));
  launch_more<4>(to, few, dim3(grid, blocks_of(rows, 32)));
}

bool fits_normed(const Launch& to, const LinearJob* jobs, int count) {
  bool fits = jobs[0].bank.cols <= kMostNormCols;
  std::int64_t blocks = 0;
  for (int j = 0; j < count; ++j) {
    fits = fits && jobs[j].bank.first.format == jobs[0].bank.first.format;
    blocks += jobs[j].bank.row_tiles();
  }
  return fits && blocks <= 3 * to.processors;
}

void linear_normed(const Launch& to, const LinearJob* jobs, int count, const NormJob& norm) {
  CHECK(fits_normed(to, jobs, count), "products of a norm");
  FewRows few = side_by_side(jobs, count, 1);
  few.norm = norm;
  launch_eight<Kind::dense, true>(to, "few_rows_kernel (norm)", few, dim3(static_cast<unsigned>(few.blocks)));
}

bool fits_beside_linear(const RouterJob& r, std::int64_t rows) {
  return rows <= kFewItemRows && r.cols % 4 == 0 && r.cols <= kMostRouterCols && r.x.stride % 4 == 0 &&
         r.shape.groups == 1 && r.shape.experts <= kFewExperts && rows * r.shape.chosen <= kMostRouterPairs;
}

void linear_with_router(const Launch& to, const LinearJob& job, std::int64_t rows, const RouterJob& router,
                        const NormJob& norm) {
  CHECK(fits_beside_linear(router, rows) && (!norm.x || rows == 1), "a router beside a product");
  FewRows few{};
  few.products.rows = rows;
  few.products.jobs[0] = job;
  few.router = router;
  few.router_blocks = static_cast<std::int32_t>(blocks_of(router.shape.experts, kThreads / 32) * rows);
  const auto blocks = static_cast<unsigned>(few.router_blocks + job.bank.row_tiles());
  few.norm = norm;
  if (norm.x)
    launch_eight<Kind::router, true>(to, "few_rows_kernel (norm, router)", few, dim3(blocks));
  else
    launch_eight<Kind::router>(to, "few_rows_kernel (router)", few, dim3(blocks));
}

void expert_linear_few(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                       const LinearOutput& out) {
  FewRows few{};
  few.products.jobs[0] = {bank, x, out};
  few.products.items = items;
  launch_experts(to, few);
}

bool fits_beside_experts(const PackedBank& bank, const PackedBank& beside, std::int64_t rows) {
  return rows <= kFewItemRows && bank.rows == beside.rows && bank.uniform && beside.uniform &&
         bank.first.format == beside.first.format;
}

void expert_linear_beside(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                          const LinearOutput& out, const LinearJob& beside, std::int64_t rows) {
  CHECK(fits_beside_experts(bank, beside.bank, rows), "a product beside experts");
  FewRows few{};
  few.products.rows = rows;
  few.products.jobs[0] = {bank, x, out};
  few.products.jobs[1] = beside;
  few.products.items = items;
  few.beside = true;
  launch_experts(to, few);
}

}  // namespace strata::cuda
