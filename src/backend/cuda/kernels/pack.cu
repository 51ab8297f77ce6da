#include "backend/cuda/kernels/pack.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

/// Where the bits of a code lie in an nvfp4 word (tiles.cuh): fragment, low or high half, then sign, the two bits of
/// the exponent, the mantissa.
__constant__ const std::uint8_t kCodeBits[4][2][4] = {{{15, 8, 7, 6}, {31, 24, 23, 22}},
                                                      {{11, 4, 3, 2}, {27, 20, 19, 18}},
                                                      {{5, 30, 29, 28}, {21, 14, 13, 12}},
                                                      {{9, 10, 1, 0}, {25, 26, 17, 16}}};

/// The byte that stands for an e4m3 scale of magnitude `code`: 8 (E + 9) + m for 2^E (1 + m / 8). A scale of 0 has
/// none: its weights' codes are 0.
__device__ unsigned normal_scale(unsigned code) {
  const unsigned exponent = code >> 3, mantissa = code & 7;
  if (exponent > 0) return (exponent + 2) * 8 + mantissa;
  if (mantissa == 0) return 0;
  const int top = 31 - __clz(static_cast<int>(mantissa));  // the value is mantissa * 2^-9
  return static_cast<unsigned>(top * 8) + ((mantissa << (3 - top)) & 7);
}

/// A tile a warp: each lane writes what it will read.
struct Place {
  std::int64_t row, col, rows, cols;  // of the tile's first value
  int lane;
  /// Calls f(product, fragment, half, row, column, inside) for the lane's 32 values.
  template <class F>
  __device__ void each(F f) const {
    for (int kb = 0; kb < 4; ++kb)
      for (int fragment = 0; fragment < 4; ++fragment)
        for (int half = 0; half < 2; ++half) {
          const std::int64_t r = row + lane / 4 + fragment % 2 * 8;
          const std::int64_t c = col + lane % 4 * 16 + kb * 4 + fragment / 2 * 2 + half;
          f(kb, fragment, half, r, c, r < rows && c < cols);
        }
  }
};

__device__ void pack_halfwords(const RawMatrix& m, const Place& place, std::byte* tile) {
  auto* out = reinterpret_cast<std::uint16_t*>(tile);
  place.each([&](int kb, int fragment, int half, std::int64_t r, std::int64_t c, bool inside) {
    const int at = kb * 256 + place.lane * 8 + fragment * 2 + half;
    const std::int64_t from = r * place.cols + c;
    if (m.format == Format::bf16) {
      out[at] = inside ? reinterpret_cast<const std::uint16_t*>(m.values)[from] : std::uint16_t{0};
      return;
    }
    float left = inside ? reinterpret_cast<const float*>(m.values)[from] : 0.0f;
    for (int term = 0; term < 3; ++term) {
      const std::uint16_t bits = bits_of_bf16(left);
      out[at + term * 1024] = bits;
      left -= float_of_bf16(bits);
    }
  });
}

__device__ bool pack_fp8(const RawMatrix& m, const Place& place, std::byte* tile) {
  auto* out = reinterpret_cast<std::uint8_t*>(tile);
  bool nan = false;
  place.each([&](int kb, int fragment, int half, std::int64_t r, std::int64_t c, bool inside) {
    const int word = kb * 2 + fragment / 2, byte = half * 2 + fragment % 2;
    const std::uint8_t code = inside ? reinterpret_cast<const std::uint8_t*>(m.values)[r * place.cols + c] : 0;
    nan |= (code & 0x7f) == 0x7f;
    out[word / 4 * 512 + place.lane * 16 + word % 4 * 4 + byte] = code;
  });
  return nan;
}

__device__ bool pack_nvfp4(const RawMatrix& m, const Place& place, std::byte* tile) {
  // A lane's columns are one block in each of its two rows.
  unsigned scale[2] = {}, flip[2] = {};
  bool zero[2] = {};
  bool nan = false;
  for (int half = 0; half < 2; ++half) {
    const std::int64_t r = place.row + place.lane / 4 + half * 8, block = place.col / 16 + place.lane % 4;
    if (r >= place.rows || block >= place.cols / 16) continue;
    const unsigned code = reinterpret_cast<const std::uint8_t*>(m.scales)[r * (place.cols / 16) + block];
    nan |= (code & 0x7f) == 0x7f;
    scale[half] = normal_scale(code & 0x7f);
    flip[half] = code >> 7;
    zero[half] = (code & 0x7f) == 0;
  }
  unsigned words[4] = {};
  place.each([&](int kb, int fragment, int half, std::int64_t r, std::int64_t c, bool inside) {
    if (!inside || zero[fragment % 2]) return;
    const unsigned pair = reinterpret_cast<const std::uint8_t*>(m.values)[r * (place.cols / 2) + c / 2];
    const unsigned code = (c % 2 ? pair >> 4 : pair & 15u) ^ flip[fragment % 2] << 3;
    for (int bit = 0; bit < 4; ++bit) words[kb] |= (code >> (3 - bit) & 1) << kCodeBits[fragment][half][bit];
  });
  reinterpret_cast<uint4*>(tile)[place.lane] = {words[0], words[1], words[2], words[3]};
  reinterpret_cast<std::uint16_t*>(tile + 512)[place.lane] = static_cast<std::uint16_t>(scale[0] | scale[1] << 8);
  return nan;
}

__global__ void __launch_bounds__(256)
    pack_kernel(const RawMatrix* raw, std::int64_t cols, std::int64_t col_tiles, int* bad) {
  wait_for_predecessors();
  const RawMatrix m = raw[blockIdx.y];
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * 8 + threadIdx.x / 32;
  if (at >= (m.rows + kTileRows - 1) / kTileRows * col_tiles) return;
  const Place place{at / col_tiles * kTileRows, at % col_tiles * kTileCols, m.rows, cols,
                    static_cast<int>(threadIdx.x % 32)};
  std::byte* tile = m.tiles + at * tile_bytes(m.format);
  bool nan = false;
  switch (m.format) {
    case Format::bf16:
    case Format::f32:
      pack_halfwords(m, place, tile);
      break;
    case Format::fp8:
      nan = pack_fp8(m, place, tile);
      break;
    case Format::nvfp4:
      nan = pack_nvfp4(m, place, tile);
      break;
  }
  if (nan) *bad = 1;
}

}  // namespace

void pack(const Launch& to, const RawMatrix* raw, std::int64_t count, std::int64_t most_rows, std::int64_t cols,
          int* bad) {
  const PackedBank shape{nullptr, {}, most_rows, cols};
  const std::int64_t tiles = shape.row_tiles() * shape.col_tiles();
  CHECK(count < 65536, "matrices of one launch");
  launch(to, "pack_kernel", pack_kernel, dim3(static_cast<unsigned>((tiles + 7) / 8), static_cast<unsigned>(count)),
         256, 0, raw, cols, shape.col_tiles(), bad);
}

}  // namespace strata::cuda
