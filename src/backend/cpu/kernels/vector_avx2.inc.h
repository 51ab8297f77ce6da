// Sixteen lanes in two AVX2 registers.

struct F8 {
  __m256 v;
};
struct U8 {
  __m256i v;
};
typedef std::uint32_t Words256 __attribute__((vector_size(32)));

constexpr int kStreamRows = 4, kDotRows = 4, kScoreQueries = 2, kScoreVectors = 2, kValueChunks = 2;
constexpr std::int64_t kPrefetchAhead = 2048;
constexpr int stream_tiles_of(int rows) { return rows <= 2 ? 2 : 1; }
constexpr int kNativeLanes = 8;

INLINE __m256i first_lanes(std::int64_t n) {
  const int lanes = n > 8 ? 8 : n < 0 ? 0 : int(n);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE void load(F8& o, const float* p) { o.v = _mm256_loadu_ps(p); }
INLINE void load_n(F8& o, const float* p, std::int64_t n) { o.v = _mm256_maskload_ps(p, first_lanes(n)); }
INLINE void store(float* p, F8 a) { _mm256_storeu_ps(p, a.v); }
INLINE void store_n(float* p, F8 a, std::int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), a.v); }
INLINE void broadcast(F8& o, float x) { o.v = _mm256_set1_ps(x); }
INLINE void load_words(U8& o, const unsigned char* p) { o.v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
INLINE void load_bf16(F8& o, const std::uint16_t* p) {
  o.v = _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
// e4m3 shifted under the exponent of a half is the value / 256, subnormals included; bit 14 came from the sign.
INLINE void load_e4m3(F8& o, const unsigned char* p) {
  const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  o.v = _mm256_cvtph_ps(_mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(short(0xbfff))));
}

INLINE F8 operator+(F8 a, F8 b) { return {_mm256_add_ps(a.v, b.v)}; }
INLINE F8 operator-(F8 a, F8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
INLINE F8 operator*(F8 a, F8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
INLINE F8 operator/(F8 a, F8 b) { return {_mm256_div_ps(a.v, b.v)}; }
INLINE F8 fma(F8 a, F8 b, F8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// The second operand where one is NaN.
INLINE F8 max(F8 a, F8 b) { return {_mm256_max_ps(a.v, b.v)}; }
INLINE F8 min(F8 a, F8 b) { return {_mm256_min_ps(a.v, b.v)}; }
INLINE F8 select_greater(F8 a, F8 b, F8 yes, F8 no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ))};
}
INLINE F8 keep_first(F8 a, std::int64_t n, float rest) {
  return {_mm256_blendv_ps(_mm256_set1_ps(rest), a.v, _mm256_castsi256_ps(first_lanes(n)))};
}

// The permutation looks at three bits of a lane; the fourth is the sign.
INLINE F8 e2m1(U8 codes, int shift) {
  const __m256 magnitudes = _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6);
  const Words256 words = reinterpret_cast<Words256>(codes.v);
  const __m256 magnitude = _mm256_permutevar8x32_ps(magnitudes, reinterpret_cast<__m256i>(words >> shift));
  const Words256 sign = (words << (28 - shift)) & 0x80000000u;
  return {_mm256_xor_ps(magnitude, reinterpret_cast<__m256>(sign))};
}
INLINE F8 bf16_low(U8 a) { return {_mm256_castsi256_ps(_mm256_slli_epi32(a.v, 16))}; }
INLINE F8 bf16_high(U8 a) { return {_mm256_castsi256_ps(_mm256_and_si256(a.v, _mm256_set1_epi32(-65536)))}; }

INLINE F8 to_bf16(F8 a) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256 quiet = _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x400000)));
  const __m256 kept = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), quiet, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  return {_mm256_and_ps(kept, _mm256_castsi256_ps(_mm256_set1_epi32(-65536)))};
}

INLINE F8 nearest_integer(F8 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
INLINE F8 power_of_two(F8 n) {
  return {
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23))};
}

INLINE float sum_of_lanes(F8 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float max_of_lanes(F8 a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// out[column][row] = in[row][column], 8 by 8: pairs, fours, then halves change places.
INLINE void transpose_square(const float* in, std::int64_t in_stride, float* out, std::int64_t out_stride) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(in + i * in_stride);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    _mm256_storeu_ps(out + c * out_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
    _mm256_storeu_ps(out + (4 + c) * out_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
  }
}

#include "backend/cpu/kernels/pairs.inc.h"

using F16 = Pair<F8>;
using U16 = Pair<U8>;
