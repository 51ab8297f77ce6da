// How linear weights lie in the GPU's memory: tiles of 16 rows by 64 columns, each in the order of the matrix unit's
// operand (PTX, mma.m16n8k16), so that a warp reads one with full-width loads and multiplies without moving anything.
//
// A lane (g = lane / 4, t = lane % 4) of a warp holds rows g and g + 8 and columns 16 t .. 16 t + 15 of a tile: product
// kb (0..3) takes columns 16 t + 4 kb + {0, 1} as its k = 2t, 2t + 1 and 16 t + 4 kb + {2, 3} as its k = 2t + 8, 2t
// + 9. Any order of k will do as long as x has the same; this one makes a lane's columns one NVFP4 block, with one
// scale, and its part of x 32 bytes in a row.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strata::cuda {

enum class Format : std::int32_t { bf16, fp8, nvfp4, f32 };

inline constexpr std::int64_t kTileRows = 16, kTileCols = 64;
/// Parts that a product over K is summed in, at most; each in ascending k, then the parts in order, whatever the number
/// of rows of x: so a row's bits don't depend on its neighbours.
inline constexpr int kSlices = 8;

/// bf16: 4 fragments of 16 bytes a lane. fp8: codes, 2 a 16 bits. nvfp4: codes, then scales. f32: three bf16 terms.
constexpr std::int64_t tile_bytes(Format f) {
  switch (f) {
    case Format::bf16:
      return 2048;
    case Format::fp8:
      return 1024;
    case Format::nvfp4:
      return 576;
    case Format::f32:
      return 3 * 2048;
  }
  return 0;
}

/// Where column c (of a tile's 64) lies in an interleaved input: product by product, each in the order of its k.
/// `deinterleaved` gives the column at a place.
constexpr int interleaved(int c) { return c % 16 / 4 * 16 + c % 4 / 2 * 8 + c / 16 * 2 + c % 2; }
constexpr int deinterleaved(int place) { return place % 8 / 2 * 16 + place / 16 * 4 + place % 16 / 8 * 2 + place % 2; }

/// One matrix of a bank, as kernels find it.
struct PackedMatrix {
  const std::byte* tiles;  // row tile by row tile, each from left to right
  float scale;             // multiplies the float32 sum once
  Format format;
};

/// A bank of matrices of one shape.
struct PackedBank {
  const PackedMatrix* matrices = nullptr;  // on the device, one an expert
  PackedMatrix first{};                    // the same as matrices[0], on the host
  std::int64_t rows = 0, cols = 0;
  bool uniform = true;            // all of one format
  std::int64_t matrix_bytes = 0;  // from one to the next, if uniform
  constexpr std::int64_t row_tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  constexpr std::int64_t col_tiles() const { return (cols + kTileCols - 1) / kTileCols; }
  /// Column tiles of one slice.
  constexpr std::int64_t slice_tiles() const { return (col_tiles() + kSlices - 1) / kSlices; }
};

}  // namespace strata::cuda
