// Moves of words and bytes between rows and lanes, for repacking weights.

// out[k][lane] = in[lane][k] for the bytes of 16 rows without gaps.
void transpose_bytes(const unsigned char* in, std::int64_t row_bytes, unsigned char* out) {
  std::int64_t k = 0;
  if (row_bytes % 4 == 0) {
    const auto* words_in = reinterpret_cast<const float*>(in);
    for (; k + 4 * kNativeLanes <= row_bytes; k += 4 * kNativeLanes) {
      alignas(64) float square[kNativeLanes][16];
      for (std::int64_t lane = 0; lane < 16; lane += kNativeLanes)
        transpose_square(words_in + lane * (row_bytes / 4) + k / 4, row_bytes / 4, square[0] + lane, 16);
      for (int w = 0; w < kNativeLanes; ++w) {
        std::uint32_t words[16];
        __builtin_memcpy(words, square[w], sizeof words);
        for (int byte = 0; byte < 4; ++byte)
          for (int lane = 0; lane < 16; ++lane)
            out[(k + 4 * w + byte) * 16 + lane] = static_cast<unsigned char>(words[lane] >> (8 * byte));
      }
    }
  }
  for (; k < row_bytes; ++k)
    for (std::int64_t lane = 0; lane < 16; ++lane) out[k * 16 + lane] = in[lane * row_bytes + k];
}

// Words of 8 codes in ascending k to even k in the low half and odd k in the high half.
void part_even_from_odd(std::uint32_t* words, std::int64_t n) {
  const auto gather = [](std::uint32_t nibbles) {  // every second nibble to the low half
    nibbles &= 0x0f0f0f0fu;
    nibbles = (nibbles | nibbles >> 4) & 0x00ff00ffu;
    return (nibbles | nibbles >> 8) & 0xffffu;
  };
  for (std::int64_t i = 0; i < n; ++i) words[i] = gather(words[i]) | gather(words[i] >> 4) << 16;
}

bool has_nan_code(const unsigned char* codes, std::int64_t n) {
  unsigned found = 0;
  for (std::int64_t i = 0; i < n; ++i) found |= (codes[i] & 0x7f) == 0x7f;
  return found != 0;
}
