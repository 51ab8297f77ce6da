// out = x W^T. The weights are the 16-row operand of the matrix unit, the tokens its 8 columns, so one token wastes no
// weight byte and 64 use the same bytes. K is summed in slices that depend on the matrix alone (packed.h): a warp a
// slice where tokens are few (few_rows.cu), slice after slice where they are many. Both give a row the same bits.
#include "backend/cuda/kernels/few_rows.h"
#include "backend/cuda/kernels/linear.h"
#include "backend/cuda/kernels/products.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

constexpr int kThreads = 256;

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

__global__ void round_rows_kernel(const float* x, std::int64_t x_stride, std::int64_t cols, RoundedRows out) {
  wait_for_predecessors();
  const std::int64_t row = blockIdx.y;
  const std::int64_t c = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 2;
  if (c >= out.stride) return;
  const float* from = x + row * x_stride;
  const float lo = c < cols ? from[c] : 0.0f, hi = c + 1 < cols ? from[c + 1] : 0.0f;
  *reinterpret_cast<unsigned*>(out.data + row * out.stride + out.place(c)) = pack_bf16x2(lo, hi);
}

}  // namespace

void linear(const Launch& to, const LinearJob* jobs, int count, std::int64_t rows) {
  CHECK(count <= Products::kMostJobs, "products of one launch");
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
  if (!many) return expert_linear_few(to, bank, x, items, out);
  Products p{};
  p.jobs[0] = {bank, x, out};
  p.items = items;
  with_format(bank, [&]<Format F, bool kMixed>() {
    launch(to, "many_rows_kernel (experts)", many_rows_kernel<F, kMixed, true>,
           dim3(blocks_of(bank.row_tiles(), kRowTilesOfBlock), static_cast<unsigned>(items.most_items)), kThreads, 0,
           p);
  });
}

void round_rows(const Launch& to, const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t cols,
                const RoundedRows& out) {
  launch(to, "round_rows_kernel", round_rows_kernel, dim3(blocks_of(out.stride, 512), static_cast<unsigned>(rows)), 256,
         0, x, x_stride, cols, out);
}

}  // namespace strata::cuda
