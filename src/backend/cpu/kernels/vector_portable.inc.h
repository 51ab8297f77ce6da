// Sixteen lanes in four vectors of four, in the compiler's own vector types: for any CPU.

typedef float Floats4 __attribute__((vector_size(16)));
typedef std::int32_t Ints4 __attribute__((vector_size(16)));
typedef std::uint32_t Words4 __attribute__((vector_size(16)));
typedef float Unaligned4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef std::uint32_t UnalignedWords4 __attribute__((vector_size(16), aligned(1), may_alias));

struct F4 {
  Floats4 v;
};
struct U4 {
  Words4 v;
};

constexpr int kStreamRows = 2, kDotRows = 2, kScoreQueries = 2, kScoreVectors = 1, kValueChunks = 2;
constexpr std::int64_t kPrefetchAhead = 2048;
constexpr int stream_tiles_of(int) { return 1; }
constexpr int kNativeLanes = 4;

struct E4m3Values {
  float over_256[256];
};
constexpr E4m3Values make_e4m3_values() {
  E4m3Values table{};
  for (int code = 0; code < 256; ++code) {
    const int exponent = (code >> 3) & 15, mantissa = code & 7;
    float value = exponent == 0 ? float(mantissa) : float(8 + mantissa);
    for (int i = 1; i < exponent; ++i) value *= 2;
    value *= 0x1p-17f;  // 2^-9 of the format, and 1 / 256
    table.over_256[code] = (code & 0x80) ? -value : value;
  }
  return table;
}
constexpr E4m3Values kE4m3 = make_e4m3_values();
constexpr float kE2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

INLINE void load(F4& o, const float* p) { o.v = *reinterpret_cast<const Unaligned4*>(p); }
INLINE void load_n(F4& o, const float* p, std::int64_t n) {
  o.v = Floats4{n > 0 ? p[0] : 0.0f, n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, n > 3 ? p[3] : 0.0f};
}
INLINE void store(float* p, F4 a) { __builtin_memcpy(p, &a.v, 16); }
INLINE void store_n(float* p, F4 a, std::int64_t n) {
  for (int i = 0; i < 4 && i < n; ++i) p[i] = a.v[i];
}
INLINE void broadcast(F4& o, float x) { o.v = Floats4{x, x, x, x}; }
INLINE void load_words(U4& o, const unsigned char* p) { o.v = *reinterpret_cast<const UnalignedWords4*>(p); }
INLINE void load_bf16(F4& o, const std::uint16_t* p) {
  const Words4 words = {p[0], p[1], p[2], p[3]};
  o.v = reinterpret_cast<Floats4>(words << 16);
}
INLINE void load_e4m3(F4& o, const unsigned char* p) {
  o.v = Floats4{kE4m3.over_256[p[0]], kE4m3.over_256[p[1]], kE4m3.over_256[p[2]], kE4m3.over_256[p[3]]};
}

INLINE F4 operator+(F4 a, F4 b) { return {a.v + b.v}; }
INLINE F4 operator-(F4 a, F4 b) { return {a.v - b.v}; }
INLINE F4 operator*(F4 a, F4 b) { return {a.v * b.v}; }
INLINE F4 operator/(F4 a, F4 b) { return {a.v / b.v}; }
// Without the instruction a fused product is a library call for every lane: two roundings instead, at every place.
INLINE F4 fma(F4 a, F4 b, F4 c) {
#ifdef __FP_FAST_FMAF
  Floats4 r;
  for (int i = 0; i < 4; ++i) r[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return {r};
#else
  return {a.v * b.v + c.v};
#endif
}
INLINE F4 blend(Ints4 mask, F4 yes, F4 no) {
  return {reinterpret_cast<Floats4>((mask & reinterpret_cast<Ints4>(yes.v)) | (~mask & reinterpret_cast<Ints4>(no.v)))};
}
// The second operand where one is NaN.
INLINE F4 max(F4 a, F4 b) { return blend(a.v > b.v, a, b); }
INLINE F4 min(F4 a, F4 b) { return blend(a.v < b.v, a, b); }
INLINE F4 select_greater(F4 a, F4 b, F4 yes, F4 no) { return blend(a.v > b.v, yes, no); }
INLINE F4 keep_first(F4 a, std::int64_t n, float rest) {
  return {Floats4{n > 0 ? a.v[0] : rest, n > 1 ? a.v[1] : rest, n > 2 ? a.v[2] : rest, n > 3 ? a.v[3] : rest}};
}

INLINE F4 e2m1(U4 codes, int shift) {
  const Words4 index = (codes.v >> shift) & 15u;
  return {Floats4{kE2m1[index[0]], kE2m1[index[1]], kE2m1[index[2]], kE2m1[index[3]]}};
}
INLINE F4 bf16_low(U4 a) { return {reinterpret_cast<Floats4>(a.v << 16)}; }
INLINE F4 bf16_high(U4 a) { return {reinterpret_cast<Floats4>(a.v & 0xffff0000u)}; }

INLINE F4 to_bf16(F4 a) {
  const Words4 bits = reinterpret_cast<Words4>(a.v);
  const Words4 rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const F4 kept =
      blend(a.v != a.v, {reinterpret_cast<Floats4>(bits | 0x400000u)}, {reinterpret_cast<Floats4>(rounded)});
  return {reinterpret_cast<Floats4>(reinterpret_cast<Words4>(kept.v) & 0xffff0000u)};
}

// Adding 1.5 * 2^23 leaves no bits behind the point: nearest, ties to even; for |a| < 2^22.
INLINE F4 nearest_integer(F4 a) { return {(a.v + 0x1.8p23f) - 0x1.8p23f}; }
INLINE F4 power_of_two(F4 n) {
  return {reinterpret_cast<Floats4>((reinterpret_cast<Ints4>(n.v + 0x1.8p23f) - 0x4b400000 + 127) << 23)};
}

INLINE float sum_of_lanes(F4 a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
INLINE float larger(float a, float b) { return a > b ? a : b; }
INLINE float max_of_lanes(F4 a) { return larger(larger(a.v[0], a.v[2]), larger(a.v[1], a.v[3])); }

// out[column][row] = in[row][column], 4 by 4.
INLINE void transpose_square(const float* in, std::int64_t in_stride, float* out, std::int64_t out_stride) {
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 4; ++column) out[column * out_stride + row] = in[row * in_stride + column];
}

#include "backend/cpu/kernels/pairs.inc.h"

using F16 = Pair<Pair<F4>>;
using U16 = Pair<Pair<U4>>;
