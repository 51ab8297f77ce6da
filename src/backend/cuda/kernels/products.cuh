// What the kernels of products share: what one launch multiplies, where a sum goes, and a tile's part of it.
#pragma once

#include "backend/cuda/kernels/linear.h"
#include "backend/cuda/kernels/tiles.cuh"

namespace strata::cuda {

/// What one launch multiplies: up to three dense matrices side by side, or the experts of one bank.
struct Products {
  static constexpr int kMostJobs = 3;
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

__device__ __forceinline__ void store(const LinearOutput& to, std::int64_t row, std::int64_t feature, float value) {
  if (to.relu_squared) {
    value = value > 0 ? value : 0;
    value *= value;
  }
  if (to.out) to.out[row * to.stride + feature] = value;
  if (to.sum) to.sum[row * to.sum_stride + feature] += value;
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

inline unsigned blocks_of(std::int64_t items, std::int64_t each) {
  return static_cast<unsigned>((items + each - 1) / each);
}

}  // namespace strata::cuda
