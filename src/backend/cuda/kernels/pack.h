// From a checkpoint's rows to packed tiles, on the GPU.
#pragma once

#include "backend/cuda/kernels/launch.h"
#include "backend/cuda/kernels/packed.h"

namespace strata::cuda {

/// Rows of a matrix as a checkpoint has them, on the GPU.
struct RawMatrix {
  const std::byte* values;  // rows of bf16, f32, e4m3, or e2m1 two a byte, the even column in the low half
  const std::byte* scales;  // nvfp4: rows of e4m3, one a 16 columns
  std::byte* tiles;         // where to; the first row begins a tile
  std::int64_t rows;
  Format format;
};

/// Packs `count` of them, `most_rows` rows the longest; `raw` lies on the GPU. Sets *bad to 1 if a code or a scale is
/// NaN.
void pack(const Launch& to, const RawMatrix* raw, std::int64_t count, std::int64_t most_rows, std::int64_t cols,
          int* bad);

}  // namespace strata::cuda
