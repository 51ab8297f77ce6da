// Reading a packed tile into a warp's registers, and its four operands of the matrix unit out of them.
#pragma once

#include "backend/cuda/kernels/packed.h"
#include "backend/cuda/kernels/primitives.cuh"

namespace strata::cuda {

/// A lane's part of one tile. `load` reads it, `fragment` gives the bf16 operand of product kb; what is added to a sum
/// by it is the weight times kWeightScale.
template <Format>
struct Tile;

template <>
struct Tile<Format::bf16> {
  static constexpr int kTerms = 1;
  uint4 words[4];
  __device__ __forceinline__ void load(const std::byte* tile, int lane) {
#pragma unroll
    for (int kb = 0; kb < 4; ++kb) words[kb] = load_streaming(tile + kb * 512 + lane * 16);
  }
  __device__ __forceinline__ void fragment(int kb, int /*term*/, unsigned (&a)[4]) const {
    a[0] = words[kb].x, a[1] = words[kb].y, a[2] = words[kb].z, a[3] = words[kb].w;
  }
};

/// A float is the sum of three bf16 terms, the nearest one to what is left each time: 24 bits, exactly.
template <>
struct Tile<Format::f32> {
  static constexpr int kTerms = 3;
  uint4 words[3][4];
  __device__ __forceinline__ void load(const std::byte* tile, int lane) {
#pragma unroll
    for (int term = 0; term < 3; ++term)
#pragma unroll
      for (int kb = 0; kb < 4; ++kb) words[term][kb] = load_streaming(tile + term * 2048 + kb * 512 + lane * 16);
  }
  __device__ __forceinline__ void fragment(int kb, int term, unsigned (&a)[4]) const {
    const uint4 w = words[term][kb];
    a[0] = w.x, a[1] = w.y, a[2] = w.z, a[3] = w.w;
  }
};

/// The seven bits of a code's exponent and mantissa put into a bf16's are the value times 2^-120; times 2^120 it is the
/// value, subnormals too. (NaN codes are refused when a matrix is packed.)
template <>
struct Tile<Format::fp8> {
  static constexpr int kTerms = 1;
  unsigned words[8];
  __device__ __forceinline__ void load(const std::byte* tile, int lane) {
    const uint4 lo = load_streaming(tile + lane * 16), hi = load_streaming(tile + 512 + lane * 16);
    words[0] = lo.x, words[1] = lo.y, words[2] = lo.z, words[3] = lo.w;
    words[4] = hi.x, words[5] = hi.y, words[6] = hi.z, words[7] = hi.w;
  }
  static __device__ __forceinline__ unsigned decode(unsigned v) {
    return multiply_bf16x2((v & 0x80008000u) | ((v & 0x7f007f00u) >> 4), 0x7b807b80u);
  }
  __device__ __forceinline__ void fragment(int kb, int /*term*/, unsigned (&a)[4]) const {
    const unsigned w0 = words[2 * kb], w1 = words[2 * kb + 1];
    a[0] = decode(w0 << 8), a[1] = decode(w0), a[2] = decode(w1 << 8), a[3] = decode(w1);
  }
};

/// A word holds a lane's 8 codes of one product, their bits placed so that a rotation and a mask make two bf16 numbers:
/// sign, and a code's three bits as the lowest two of the exponent and the highest of the mantissa. That is the value
/// times 2^-126; a block's scale, stored as 8 (E + 9) + m for 2^E (1 + m / 8), becomes the bf16 scale times 2^119, so
/// their product is exact and 2^-7 of the weight.
template <>
struct Tile<Format::nvfp4> {
  static constexpr int kTerms = 1;
  uint4 codes;
  unsigned scales;
  __device__ __forceinline__ void load(const std::byte* tile, int lane) {
    codes = load_streaming(tile + lane * 16);
    std::uint16_t both;
    asm volatile("ld.global.nc.L1::no_allocate.u16 %0,[%1];" : "=h"(both) : "l"(tile + 512 + lane * 2));
    scales = both;
  }
  __device__ __forceinline__ void fragment(int kb, int /*term*/, unsigned (&a)[4]) const {
    const unsigned w = kb == 0 ? codes.x : kb == 1 ? codes.y : kb == 2 ? codes.z : codes.w;
    const unsigned s0 = (scales & 0xffu) * 0x00100010u + 0x76807680u, s1 = (scales >> 8) * 0x00100010u + 0x76807680u;
    a[0] = multiply_bf16x2(w & 0x81c081c0u, s0);
    a[1] = multiply_bf16x2(rotate_left(w, 4) & 0x81c081c0u, s1);
    a[2] = multiply_bf16x2(rotate_left(w, 10) & 0x81c081c0u, s0);
    a[3] = multiply_bf16x2((rotate_left(w, 6) & 0x80c080c0u) | ((w >> 2) & 0x01000100u), s1);
  }
};

/// A lane's 16 columns of a row of x, rounded to bf16; zeros for a row that isn't there.
struct Inputs {
  uint4 lo, hi;
  __device__ __forceinline__ void load(const std::uint16_t* x, bool there) {
    lo = hi = uint4{0, 0, 0, 0};
    if (there) {
      lo = *reinterpret_cast<const uint4*>(x);
      hi = *reinterpret_cast<const uint4*>(x + 8);
    }
  }
  __device__ __forceinline__ unsigned first(int kb) const {
    return kb == 0 ? lo.x : kb == 1 ? lo.z : kb == 2 ? hi.x : hi.z;
  }
  __device__ __forceinline__ unsigned second(int kb) const {
    return kb == 0 ? lo.y : kb == 1 ? lo.w : kb == 2 ? hi.y : hi.w;
  }
};

}  // namespace strata::cuda
