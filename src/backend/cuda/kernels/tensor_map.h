// How the GPU's copy engine finds boxes of rows of bf16.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "backend/cuda/kernels/packed.h"

namespace strata::cuda {

/// Boxes of 64 columns by `box_rows` of [rows, stride] at `data` (at a multiple of 16, as stride * 2 is), in shared
/// memory as `wgmma_rows` (wgmma.cuh) takes them. Rows past the last are 0.
CUtensorMap map_rows(const std::uint16_t* data, std::int64_t rows, std::int64_t stride, int box_rows);

/// Boxes of one column tile by `box_tiles` row tiles of one matrix of `bank`; 8 bytes are one value. Row tiles past the
/// last are 0.
CUtensorMap map_tiles(const PackedBank& bank, int box_tiles);

}  // namespace strata::cuda
