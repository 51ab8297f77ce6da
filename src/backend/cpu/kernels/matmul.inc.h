// Products of packed weights and rows of activations. The arithmetic of one output, whatever the rows and tiles beside
// it: per block of 16 k a partial sum that starts with a product and goes on with fused multiply-adds in ascending k,
// then one addition of the partial (times the block scale) to the sum; at the end one product with the row scale.

// Each format's `weights` hands body(k, i, weight) the weights of block `block` of kTiles tiles, `stride` bytes apart,
// in one order that begins with k = 0.
struct F32Tiles {
  static constexpr bool kScaled = false;
  static constexpr std::int64_t kBlockBytes = 1024;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k)
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) {
        F16 w;
        load(w, reinterpret_cast<const float*>(block + i * stride) + 16 * k);
        body(k, i, w);
      }
  }
};

struct Bf16Tiles {
  static constexpr bool kScaled = false;
  static constexpr std::int64_t kBlockBytes = 512;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
#pragma GCC unroll 8
    for (int pair = 0; pair < 8; ++pair) {
      U16 words[kTiles];
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) load_words(words[i], block + i * stride + 64 * pair);
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) body(2 * pair, i, bf16_low(words[i]));
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) body(2 * pair + 1, i, bf16_high(words[i]));
    }
  }
};

struct Fp8Tiles {
  static constexpr bool kScaled = false;
  static constexpr std::int64_t kBlockBytes = 256;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k)
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) {
        F16 w;
        load_e4m3(w, block + i * stride + 16 * k);
        body(k, i, w);
      }
  }
};

struct Nvfp4Tiles {
  static constexpr bool kScaled = true;
  static constexpr std::int64_t kBlockBytes = 128;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
    // Words from a byte further on instead of words shifted by a byte: only the low bits are looked at, and loads wait
    // less than shifts. The last reach three bytes into the scales.
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half)
#pragma GCC unroll 4
      for (int byte = 0; byte < 4; ++byte) {
        const int k = 8 * half + 4 * (byte % 2) + byte / 2;
        U16 words[kTiles];
#pragma GCC unroll 4
        for (int i = 0; i < kTiles; ++i) load_words(words[i], block + i * stride + 64 * half + byte);
#pragma GCC unroll 4
        for (int i = 0; i < kTiles; ++i) body(k, i, e2m1(words[i], 0));
#pragma GCC unroll 4
        for (int i = 0; i < kTiles; ++i) body(k + 2, i, e2m1(words[i], 4));
      }
  }
};

// Scales of block b of an NVFP4 tile's payload.
INLINE F16 block_scale(const unsigned char* payload, std::int64_t k_blocks, std::int64_t b) {
  F16 scale;
  load_e4m3(scale, payload + k_blocks * Nvfp4Tiles::kBlockBytes + b * 16);
  return scale;
}

INLINE void store_outputs(const TileRange& w, std::int64_t tile, const unsigned char* header, F16 sum, float* out) {
  F16 row_scale;
  load(row_scale, reinterpret_cast<const float*>(header));
  store_n(out + tile * kTileRows, sum * row_scale, w.rows - tile * kTileRows);
}

// Weights go through registers, decoded as they come: with 12 rows an AVX-512 core does 0.8 of its peak, which panels
// of weights decoded to f32 don't beat. Several tiles at a time, where few rows leave the multipliers waiting for each
// other's results.
template <class Format, int kRows, int kTiles>
void stream_tiles(const TileRange& w, std::int64_t tile, const void* const* x, float* const* out) {
  const unsigned char* header = w.tiles + tile * w.tile_bytes;
  const unsigned char* payload = header + kTileHeader;
  F16 sum[kRows][kTiles];
  const Activation* row[kRows];
#pragma GCC unroll 16
  for (int t = 0; t < kRows; ++t) {
    row[t] = static_cast<const Activation*>(x[t]);
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) broadcast(sum[t][i], 0);
  }
  for (std::int64_t b = 0; b < w.k_blocks; ++b) {
    F16 partial[kRows][kTiles];
    const unsigned char* block = payload + b * Format::kBlockBytes;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i)
#pragma GCC unroll 16
      for (int line = 0; line < Format::kBlockBytes / 64; ++line)
        __builtin_prefetch(block + i * w.tile_bytes + kPrefetchAhead + line * 64);
    Format::template weights<kTiles>(block, w.tile_bytes, [&](int k, int i, F16 weight) INLINE_LAMBDA {
#pragma GCC unroll 16
      for (int t = 0; t < kRows; ++t) {
        F16 value;
        broadcast_activation(value, row[t] + b * kTileDepth + k);
        partial[t][i] = k == 0 ? weight * value : fma(weight, value, partial[t][i]);
      }
    });
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      F16 scale;
      if constexpr (Format::kScaled) scale = block_scale(payload + i * w.tile_bytes, w.k_blocks, b);
#pragma GCC unroll 16
      for (int t = 0; t < kRows; ++t) {
        if constexpr (Format::kScaled)
          sum[t][i] = fma(partial[t][i], scale, sum[t][i]);
        else
          sum[t][i] = sum[t][i] + partial[t][i];
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i)
#pragma GCC unroll 16
    for (int t = 0; t < kRows; ++t) store_outputs(w, tile + i, header + i * w.tile_bytes, sum[t][i], out[t]);
}

template <class Format, int kRows>
INLINE void stream_rows(const TileRange& w, std::int64_t begin, std::int64_t end, const void* const* x,
                        float* const* out) {
  constexpr int kTiles = stream_tiles_of(kRows);
  std::int64_t tile = begin;
  for (; tile + kTiles <= end; tile += kTiles) stream_tiles<Format, kRows, kTiles>(w, tile, x, out);
  if constexpr (kTiles > 1)
    for (; tile < end; ++tile) stream_tiles<Format, kRows, 1>(w, tile, x, out);
}

template <class Format, int kRows>
INLINE void stream_rest(const TileRange& w, std::int64_t begin, std::int64_t end, const void* const* x,
                        float* const* out, std::int64_t count) {
  if constexpr (kRows > 0) {
    if (count == kRows)
      stream_rows<Format, kRows>(w, begin, end, x, out);
    else
      stream_rest<Format, kRows - 1>(w, begin, end, x, out, count);
  }
}

// Many rows pass tile by tile, so that a tile comes from memory once and then from the caches.
template <class Format>
void matmul(const TileRange& w, const ActivationRows& rows) {
  const std::int64_t end = w.begin + w.count;
  if (rows.count <= kStreamRows) return stream_rest<Format, kStreamRows>(w, w.begin, end, rows.x, rows.out, rows.count);
  for (std::int64_t tile = w.begin; tile < end; ++tile) {
    std::int64_t t = 0;
    for (; t + kStreamRows <= rows.count; t += kStreamRows)
      stream_tiles<Format, kStreamRows, 1>(w, tile, rows.x + t, rows.out + t);
    stream_rest<Format, kStreamRows - 1>(w, tile, tile + 1, rows.x + t, rows.out + t, rows.count - t);
  }
}
