// e4m3 as bf16 by tables of bytes (AVX512_VBMI).

// Both bytes of e4m3 / 256 as bf16, by the seven bits under the sign.
struct E4m3Bytes {
  alignas(64) unsigned char high[128], low[128];
};
constexpr E4m3Bytes make_e4m3_bytes() {
  E4m3Bytes table{};
  for (int code = 0; code < 128; ++code) {
    int exponent = code >> 3, mantissa = code & 7;
    if (exponent == 0 && mantissa > 0) {
      for (exponent = 1; mantissa < 8; mantissa *= 2) --exponent;
      mantissa -= 8;
    }
    const int bits = code == 0 ? 0 : code == 127 ? 0x7fc0 : ((exponent - 7 - 8 + 127) << 7) | (mantissa << 4);
    table.high[code] = static_cast<unsigned char>(bits >> 8);
    table.low[code] = static_cast<unsigned char>(bits & 0xff);
  }
  return table;
}
alignas(64) constexpr E4m3Bytes kE4m3Bytes = make_e4m3_bytes();

struct Bf16Bytes {
  __m512i low, high;
};
// Of 64 codes.
INLINE Bf16Bytes e4m3_bytes(__m512i codes) {
  const __m512i low0 = _mm512_load_si512(kE4m3Bytes.low), low1 = _mm512_load_si512(kE4m3Bytes.low + 64);
  const __m512i high0 = _mm512_load_si512(kE4m3Bytes.high), high1 = _mm512_load_si512(kE4m3Bytes.high + 64);
  const __m512i sign = _mm512_set1_epi8(char(0x80));
  return {_mm512_permutex2var_epi8(low0, codes, low1),
          _mm512_ternarylogic_epi32(_mm512_permutex2var_epi8(high0, codes, high1), codes, sign, 0xf8)};
}

// Of up to 64 codes, in order.
INLINE void e4m3_to_bf16(__m512i codes, __m512i& first, __m512i& last) {
  const __m512i halves = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);  // so that unpacking leaves them in order
  const Bf16Bytes bytes = e4m3_bytes(_mm512_permutexvar_epi64(halves, codes));
  first = _mm512_unpacklo_epi8(bytes.low, bytes.high);
  last = _mm512_unpackhi_epi8(bytes.low, bytes.high);
}

void e4m3_to_bf16(const unsigned char* in, std::uint16_t* out, std::int64_t n) {
  __m512i first, last;
  std::int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    e4m3_to_bf16(_mm512_loadu_si512(in + i), first, last);
    _mm512_storeu_si512(out + i, first);
    _mm512_storeu_si512(out + i + 32, last);
  }
  if (i == n) return;
  const __mmask64 present = (1ull << (n - i)) - 1;
  e4m3_to_bf16(_mm512_maskz_loadu_epi8(present, in + i), first, last);
  _mm512_mask_storeu_epi16(out + i, __mmask32(present), first);
  _mm512_mask_storeu_epi16(out + i + 32, __mmask32(present >> 32), last);
}
