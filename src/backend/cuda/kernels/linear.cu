// out = x W^T. The weights are the 16-row operand of the matrix unit, the tokens its 8 columns, so one token wastes no
// weight byte and 64 use the same bytes. K is summed in slices that depend on the matrix alone (packed.h): a warp a
// slice where tokens are few, slice after slice where they are many. Both give a row the same bits.
#include "backend/cuda/kernels/linear.h"
#include "backend/cuda/kernels/tiles.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

constexpr int kThreads = 32 * kSlices;
constexpr int kMostJobs = 3;

/// What one launch multiplies: up to three dense matrices side by side, or the experts of one bank.
struct Products {
  LinearJob jobs[kMostJobs];
  std::int32_t first_block[kMostJobs + 1];  // of each job, in grid.x
  std::int64_t rows;
  ExpertItems items;
};

/// One product's place in a launch: a matrix, and which rows of x and out.
struct Place {
  PackedMatrix matrix;
  const std::int32_t* pairs;  // null: rows are consecutive
  std::int64_t first, count;
  std::int64_t pairs_per_row;
  __device__ std::int64_t out_row(int column) const { return pairs ? pairs[first + column] : first + column; }
  __device__ std::int64_t x_row(int column) const { return pairs ? out_row(column) / pairs_per_row : first + column; }
};

__device__ void store(const LinearOutput& to, std::int64_t row, std::int64_t feature, float value) {
  if (to.relu_squared) {
    value = value > 0 ? value : 0;
    value *= value;
  }
  if (to.out) to.out[row * to.stride + feature] = value;
  if (to.rounded) to.rounded[row * to.rounded_stride + feature] = bits_of_bf16(value);
}

/// sum += tile times x, kN columns of 8 tokens.
template <Format F, int kN>
__device__ __forceinline__ void multiply_tile(const Tile<F>& tile, const Inputs (&x)[kN], float (&sum)[kN][4]) {
#pragma unroll
  for (int kb = 0; kb < 4; ++kb) {
#pragma unroll
    for (int term = 0; term < Tile<F>::kTerms; ++term) {
      unsigned a[4];
      tile.fragment(kb, term, a);
#pragma unroll
      for (int n = 0; n < kN; ++n) multiply_add(sum[n], a, x[n].first(kb), x[n].second(kb));
    }
  }
}

/// Tiles whose loads are under way at a time.
template <Format F, int kN>
constexpr int tiles_ahead() {
  if (F == Format::f32 || kN >= 8) return 1;
  if (F == Format::nvfp4 || F == Format::fp8) return kN <= 2 ? 2 : 1;
  return kN <= 1 ? 2 : 1;
}

/// One warp's slice of one row tile. `ready` is called once, between the first loads of weights and those of x.
template <Format F, int kN, class Ready>
__device__ void multiply_slice(const std::byte* tiles, int count, const std::uint16_t* const (&x)[kN], int lane,
                               float (&sum)[kN][4], Ready&& ready) {
  constexpr int kAhead = tiles_ahead<F, kN>();
  Tile<F> tile[kAhead];
  Inputs input[kAhead][kN];
  const auto load_inputs = [&](int i, int at) {
#pragma unroll
    for (int n = 0; n < kN; ++n) input[i][n].load(x[n] + at * kTileCols, x[n] != nullptr);
  };
#pragma unroll
  for (int i = 0; i < kAhead; ++i)
    if (i < count) tile[i].load(tiles + i * tile_bytes(F), lane);
  ready();
#pragma unroll
  for (int i = 0; i < kAhead; ++i)
    if (i < count) load_inputs(i, i);
  for (int at = 0; at < count; at += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (at + i >= count) break;
      multiply_tile<F, kN>(tile[i], input[i], sum);
      if (at + i + kAhead < count) {
        tile[i].load(tiles + (at + i + kAhead) * tile_bytes(F), lane);
        load_inputs(i, at + i + kAhead);
      }
    }
  }
}

/// Few rows: a block a row tile, a warp a slice. kMixed: the format is looked up, else it is F.
template <Format F, bool kMixed, int kN, bool kExperts>
__global__ void __launch_bounds__(kThreads, kMixed || kN > 2 ? 2
                                            : kN == 2        ? 3
                                                             : 4) few_rows_kernel(const __grid_constant__ Products p) {
  __shared__ float sums[kSlices][kN * 8 * kTileRows];
  const int lane = threadIdx.x % 32, slice = threadIdx.x / 32;
  int job = 0;
  if (!kExperts)
    while (job + 1 < kMostJobs && static_cast<int>(blockIdx.x) >= p.first_block[job + 1]) ++job;
  const PackedBank& bank = p.jobs[job].bank;
  const std::int64_t row_tile = blockIdx.x - p.first_block[job];
  const int col_tiles = static_cast<int>(bank.col_tiles()), slice_tiles = static_cast<int>(bank.slice_tiles());
  const int first_tile = slice * slice_tiles;
  const int count = min(slice_tiles, col_tiles - first_tile);

  std::int64_t expert = 0;
  Place place{bank.first, nullptr, static_cast<std::int64_t>(blockIdx.y) * kN * 8, 0, 1};
  if (kExperts) {
    wait_for_predecessors();
    if (static_cast<int>(blockIdx.y) >= *p.items.items) return;
    expert = p.items.expert[blockIdx.y];
    place = {bank.matrices[expert], p.items.pairs, p.items.first[blockIdx.y], p.items.count[blockIdx.y],
             p.items.pairs_per_row};
  } else {
    place.count = min(static_cast<std::int64_t>(kN * 8), p.rows - place.first);
  }
  const Bf16Rows& in = p.jobs[job].x;
  const std::uint16_t* x[kN];
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const int column = n * 8 + lane / 4;
    x[n] = column < place.count && count > 0
               ? in.data + place.x_row(column) * in.stride + first_tile * kTileCols + lane % 4 * 16
               : nullptr;
  }
  float sum[kN][4] = {};
  const auto run = [&]<Format G>() {
    // The address of a uniform bank's matrix needs no look-up, which the loads of weights would wait for.
    const std::byte* matrix = kExperts && !kMixed ? bank.first.tiles + expert * bank.matrix_bytes : place.matrix.tiles;
    const std::byte* tiles = matrix + (row_tile * col_tiles + first_tile) * tile_bytes(G);
    multiply_slice<G, kN>(tiles, count, x, lane, sum, [] {
      if (!kExperts) wait_for_predecessors();
    });
  };
  if (!kMixed) {
    run.template operator()<F>();
  } else {
    switch (place.matrix.format) {
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
    const std::int64_t feature = row_tile * kTileRows + i % kTileRows;
    if (column >= place.count || feature >= bank.rows) continue;
    float total = sums[0][i];
    for (int s = 1; s < slices; ++s) total += sums[s][i];
    store(p.jobs[job].out, place.out_row(column), feature, total * place.matrix.scale);
  }
}

// Many rows: a block makes 128 features of 64 tokens, a warp 32 of each. Tokens pass through shared memory, tiles of
// weights come straight into the registers of the warps that multiply them.
constexpr int kRowTilesOfBlock = 8, kStages = 4;

__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(to), "l"(global), "r"(there ? 16 : 0) : "memory");
}

/// Columns of 16 bytes are exchanged between even and odd rows, so that a warp's reads meet no bank twice.
__device__ __forceinline__ int swizzled(int row, int part) { return row * 8 + (part ^ (row & 1)); }

template <Format F>
__device__ void multiply_many(const LinearJob& job, const Place& place, std::int64_t first_row_tile, uint4* stages) {
  constexpr int kTokens = kManyItemRows;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int col_tiles = static_cast<int>(job.bank.col_tiles()), slice_tiles = static_cast<int>(job.bank.slice_tiles());
  const std::int64_t row_tiles = job.bank.row_tiles();
  const std::int64_t row_tile = first_row_tile + warp / 2 * 2;
  const int token = warp % 2 * 32;

  // Two 16-byte parts of one token's 64 columns a thread and stage.
  const int copied = threadIdx.x / 4, part = threadIdx.x % 4 * 2;
  const bool there = copied < place.count;
  const std::uint16_t* from = job.x.data + (there ? place.x_row(copied) : 0) * job.x.stride + part * 8;
  const auto fetch = [&](int tile) {
    if (tile < col_tiles) {
      uint4* stage = stages + tile % kStages * kTokens * 8;
      copy_async(stage + swizzled(copied, part), from + tile * kTileCols, there);
      copy_async(stage + swizzled(copied, part + 1), from + tile * kTileCols + 8, there);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  for (int i = 0; i < kStages - 1; ++i) fetch(i);

  Tile<F> tile[2];
  const auto load_weights = [&](int at) {
#pragma unroll
    for (int r = 0; r < 2; ++r)
      if (row_tile + r < row_tiles && at < col_tiles)
        tile[r].load(place.matrix.tiles + ((row_tile + r) * col_tiles + at) * tile_bytes(F), lane);
  };
  load_weights(0);
  float sum[2][4][4] = {}, total[2][4][4];
  for (int at = 0; at < col_tiles; ++at) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
    __syncthreads();
    fetch(at + kStages - 1);
    const uint4* stage = stages + at % kStages * kTokens * 8;
    Inputs x[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int row = token + n * 8 + lane / 4;
      x[n].lo = stage[swizzled(row, lane % 4 * 2)];
      x[n].hi = stage[swizzled(row, lane % 4 * 2 + 1)];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) multiply_tile<F, 4>(tile[r], x, sum[r]);
    load_weights(at + 1);
    if ((at + 1) % slice_tiles == 0 || at + 1 == col_tiles) {
      const bool first = at < slice_tiles;
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            total[r][n][i] = first ? sum[r][n][i] : total[r][n][i] + sum[r][n][i];
            sum[r][n][i] = 0;
          }
    }
  }
#pragma unroll
  for (int n = 0; n < 4; ++n)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = token + n * 8 + lane % 4 * 2 + c;
      if (column >= place.count) continue;
      const std::int64_t out_row = place.out_row(column);
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::int64_t feature = (row_tile + r) * kTileRows + half * 8 + lane / 4;
          if (feature < job.bank.rows) store(job.out, out_row, feature, total[r][n][half * 2 + c] * place.matrix.scale);
        }
    }
}

template <Format F, bool kMixed, bool kExperts>
__global__ void __launch_bounds__(kThreads) many_rows_kernel(const __grid_constant__ Products p) {
  __shared__ uint4 stages[kStages * kManyItemRows * 8];
  wait_for_predecessors();
  const LinearJob& job = p.jobs[0];
  Place place{job.bank.first, nullptr, static_cast<std::int64_t>(blockIdx.y) * kManyItemRows, 0, 1};
  if (kExperts) {
    if (static_cast<int>(blockIdx.y) >= *p.items.items) return;
    place = {job.bank.matrices[p.items.expert[blockIdx.y]], p.items.pairs, p.items.first[blockIdx.y],
             p.items.count[blockIdx.y], p.items.pairs_per_row};
  } else {
    place.count = min(kManyItemRows, p.rows - place.first);
  }
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kRowTilesOfBlock;
  if (!kMixed) return multiply_many<F>(job, place, first, stages);
  switch (place.matrix.format) {
    case Format::bf16:
      return multiply_many<Format::bf16>(job, place, first, stages);
    case Format::fp8:
      return multiply_many<Format::fp8>(job, place, first, stages);
    case Format::nvfp4:
      return multiply_many<Format::nvfp4>(job, place, first, stages);
    case Format::f32:
      return multiply_many<Format::f32>(job, place, first, stages);
  }
}

/// Calls f with the template arguments (format, mixed) that `bank` needs; f32 alone goes by the mixed kernel.
template <class Call>
void with_format(const PackedBank& bank, Call&& f) {
  const bool mixed = !bank.uniform || bank.first.format == Format::f32;
  if (mixed) return f.template operator()<Format::f32, true>();
  switch (bank.first.format) {
    case Format::bf16:
      return f.template operator()<Format::bf16, false>();
    case Format::fp8:
      return f.template operator()<Format::fp8, false>();
    default:
      return f.template operator()<Format::nvfp4, false>();
  }
}

unsigned blocks_of(std::int64_t items, std::int64_t each) { return static_cast<unsigned>((items + each - 1) / each); }

template <int kN>
void launch_few(const Launch& to, const Products& p, unsigned blocks, unsigned columns) {
  with_format(p.jobs[0].bank, [&]<Format F, bool kMixed>() {
    launch(to, "few_rows_kernel", few_rows_kernel<F, kMixed, kN, false>, dim3(blocks, columns), kThreads, 0, p);
  });
}

/// Jobs of one format, few rows.
void linear_few(const Launch& to, const LinearJob* jobs, int count, std::int64_t rows) {
  Products p{};
  p.rows = rows;
  std::int32_t blocks = 0;
  for (int j = 0; j < kMostJobs; ++j) {
    p.first_block[j] = j < count ? blocks : 0x7fffffff;
    if (j >= count) continue;
    p.jobs[j] = jobs[j];
    blocks += static_cast<std::int32_t>(jobs[j].bank.row_tiles());
  }
  const auto grid = static_cast<unsigned>(blocks);
  if (rows <= 8) return launch_few<1>(to, p, grid, 1);
  if (rows <= 16) return launch_few<2>(to, p, grid, 1);
  launch_few<4>(to, p, grid, blocks_of(rows, 32));
}

__global__ void round_rows_kernel(const float* x, std::int64_t x_stride, std::int64_t cols, std::uint16_t* out,
                                  std::int64_t out_stride) {
  wait_for_predecessors();
  const std::int64_t row = blockIdx.y;
  const std::int64_t c = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 2;
  if (c >= out_stride) return;
  const float* from = x + row * x_stride;
  const float lo = c < cols ? from[c] : 0.0f, hi = c + 1 < cols ? from[c + 1] : 0.0f;
  *reinterpret_cast<unsigned*>(out + row * out_stride + c) = pack_bf16x2(lo, hi);
}

}  // namespace

void linear(const Launch& to, const LinearJob* jobs, int count, std::int64_t rows) {
  CHECK(count <= kMostJobs, "products of one launch");
  if (rows <= kFewRows) {
    bool alike = true;
    for (int j = 1; j < count; ++j) alike = alike && jobs[j].bank.first.format == jobs[0].bank.first.format;
    if (alike) return linear_few(to, jobs, count, rows);
    for (int j = 0; j < count; ++j) linear_few(to, jobs + j, 1, rows);
    return;
  }
  for (int j = 0; j < count; ++j) {
    Products p{};
    p.rows = rows;
    p.jobs[0] = jobs[j];
    const dim3 grid(blocks_of(jobs[j].bank.row_tiles(), kRowTilesOfBlock), blocks_of(rows, kManyItemRows));
    with_format(jobs[j].bank, [&]<Format F, bool kMixed>() {
      launch(to, "many_rows_kernel", many_rows_kernel<F, kMixed, false>, grid, kThreads, 0, p);
    });
  }
}

void expert_linear(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items, bool many,
                   const LinearOutput& out) {
  Products p{};
  p.jobs[0] = {bank, x, out};
  p.items = items;
  const auto most = static_cast<unsigned>(items.most_items);
  with_format(bank, [&]<Format F, bool kMixed>() {
    if (many) {
      launch(to, "many_rows_kernel (experts)", many_rows_kernel<F, kMixed, true>,
             dim3(blocks_of(bank.row_tiles(), kRowTilesOfBlock), most), kThreads, 0, p);
    } else {
      launch(to, "few_rows_kernel (experts)", few_rows_kernel<F, kMixed, 1, true>,
             dim3(static_cast<unsigned>(bank.row_tiles()), most), kThreads, 0, p);
    }
  });
}

void round_rows(const Launch& to, const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t cols,
                std::uint16_t* out, std::int64_t out_stride) {
  launch(to, "round_rows_kernel", round_rows_kernel, dim3(blocks_of(out_stride, 512), static_cast<unsigned>(rows)), 256,
         0, x, x_stride, cols, out, out_stride);
}

}  // namespace strata::cuda
