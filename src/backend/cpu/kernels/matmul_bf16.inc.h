// Products of packed weights and rows of bf16 activations with vdpbf16ps, two k at a time. The arithmetic of one
// output, whatever the rows and tiles beside it: pairs of k in ascending order into one sum; with block scales, pairs
// into a partial sum of 16 k that starts at zero, and one fused multiply-add of the partial and the scale to the sum;
// at the end one product with the row scale. Few rows, and block scales, take weights as they are decoded (stream_*);
// many rows share panels of weights that were decoded once (panel_*): the operands are the same, and so is their order.

using Weights = __m512bh;  // of 16 rows, a pair of k each

INLINE Weights weights_of(__m512i bits) { return reinterpret_cast<Weights>(bits); }
INLINE __m512i load_bits(const unsigned char* p) { return _mm512_loadu_si512(p); }

// Each format's `weights` hands body(pair, i, weights) block `block` of kTiles tiles, `stride` bytes apart.
struct Bf16Pairs {
  static constexpr bool kScaled = false, kIsPanel = true;
  static constexpr int kStreamTiles = 4, kStreamRows = 12;
  static constexpr std::int64_t kBlockBytes = 512;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
#pragma GCC unroll 8
    for (int pair = 0; pair < 8; ++pair)
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) body(pair, i, weights_of(load_bits(block + i * stride + 64 * pair)));
  }
};

struct Fp8Pairs {
  static constexpr bool kScaled = false, kIsPanel = false;
  static constexpr int kStreamTiles = 4, kStreamRows = 4;
  static constexpr std::int64_t kBlockBytes = 256;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
    // Bytes of 4 k by 16 rows: a quarter of the register gets 4 rows, their first two k before the last two.
    const __m512i order =
        _mm512_set_epi8(63, 47, 62, 46, 61, 45, 60, 44, 31, 15, 30, 14, 29, 13, 28, 12, 59, 43, 58, 42, 57, 41, 56, 40,
                        27, 11, 26, 10, 25, 9, 24, 8, 55, 39, 54, 38, 53, 37, 52, 36, 23, 7, 22, 6, 21, 5, 20, 4, 51,
                        35, 50, 34, 49, 33, 48, 32, 19, 3, 18, 2, 17, 1, 16, 0);
#pragma GCC unroll 4
    for (int four = 0; four < 4; ++four)
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) {
        const Bf16Bytes bytes = e4m3_bytes(_mm512_permutexvar_epi8(order, load_bits(block + i * stride + 64 * four)));
        body(2 * four, i, weights_of(_mm512_unpacklo_epi8(bytes.low, bytes.high)));
        body(2 * four + 1, i, weights_of(_mm512_unpackhi_epi8(bytes.low, bytes.high)));
      }
  }
};

struct Nvfp4Pairs {
  static constexpr bool kScaled = true, kIsPanel = false;
  static constexpr int kStreamTiles = 2, kStreamRows = 6;
  static constexpr std::int64_t kBlockBytes = 128;
  template <int kTiles, class Body>
  INLINE static void weights(const unsigned char* block, std::int64_t stride, Body&& body) {
    // e2m1 as bf16 by five bits, of which the upper one is a neighbour's.
    const __m512i values =
        _mm512_set4_epi64(0xc0c0c080c040c000, 0xbfc0bf80bf008000, 0x40c0408040404000, 0x3fc03f803f000000);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m512i words[kTiles];
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) words[i] = load_bits(block + i * stride + 64 * half);
#pragma GCC unroll 4
      for (int pair = 0; pair < 4; ++pair)
#pragma GCC unroll 4
        for (int i = 0; i < kTiles; ++i)
          body(4 * half + pair, i,
               weights_of(_mm512_permutexvar_epi16(_mm512_srli_epi32(words[i], unsigned(4 * pair)), values)));
    }
  }
};

INLINE F16 scale_of_block(const unsigned char* payload, std::int64_t k_blocks, std::int64_t b) {
  F16 scale;
  load_e4m3(scale, payload + k_blocks * Nvfp4Pairs::kBlockBytes + b * 16);
  return scale;
}

// Asks for a block's share of what comes next. Tiles with scales are two streams each: for them the bytes behind these
// tiles in one ascending sweep, as the processor's own prefetching likes them. Else each tile's bytes some blocks
// further on, or, past its end, those of the tile that takes its place; to the second-level cache, because many streams
// at a time leave the first too few places.
template <class Format, int kTiles>
INLINE void prefetch_tiles(const TileRange& w, const unsigned char* header, std::int64_t b) {
  if constexpr (Format::kScaled) {
    constexpr std::int64_t kBytes = kTiles * (Format::kBlockBytes + 16);
#pragma GCC unroll 8
    for (int line = 0; line < (kBytes + 63) / 64; ++line)
      __builtin_prefetch(header + kTiles * w.tile_bytes + b * kBytes + line * 64);
  } else {
    std::int64_t ahead = kTileHeader + b * Format::kBlockBytes + kPrefetchAhead;
    if (ahead >= w.tile_bytes) ahead += (kTiles - 1) * w.tile_bytes;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i)
#pragma GCC unroll 8
      for (int line = 0; line < Format::kBlockBytes / 64; ++line)
        __builtin_prefetch(header + i * w.tile_bytes + ahead + line * 64, 0, 2);
  }
}

template <class Format, int kRows, int kTiles>
void stream_pairs(const TileRange& w, std::int64_t tile, const void* const* x, float* const* out) {
  const unsigned char* header = w.tiles + tile * w.tile_bytes;
  const unsigned char* payload = header + kTileHeader;
  __m512 sum[kRows][kTiles];
  const Activation* row[kRows];
#pragma GCC unroll 16
  for (int t = 0; t < kRows; ++t) {
    row[t] = static_cast<const Activation*>(x[t]);
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) sum[t][i] = _mm512_setzero_ps();
  }
  for (std::int64_t b = 0; b < w.k_blocks; ++b) {
    const unsigned char* block = payload + b * Format::kBlockBytes;
    prefetch_tiles<Format, kTiles>(w, header, b);
    __m512 partial[kRows][kTiles];
#pragma GCC unroll 16
    for (int t = 0; t < kRows; ++t)
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) partial[t][i] = Format::kScaled ? _mm512_setzero_ps() : sum[t][i];
    Format::template weights<kTiles>(block, w.tile_bytes, [&](int pair, int i, Weights weight) INLINE_LAMBDA {
#pragma GCC unroll 16
      for (int t = 0; t < kRows; ++t)
        partial[t][i] = _mm512_dpbf16_ps(partial[t][i], weight, activation_pair(row[t] + b * kTileDepth + 2 * pair));
    });
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      F16 scale;
      if constexpr (Format::kScaled) scale = scale_of_block(payload + i * w.tile_bytes, w.k_blocks, b);
#pragma GCC unroll 16
      for (int t = 0; t < kRows; ++t) {
        if constexpr (Format::kScaled)
          sum[t][i] = _mm512_fmadd_ps(partial[t][i], scale.v, sum[t][i]);
        else
          sum[t][i] = partial[t][i];
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i)
#pragma GCC unroll 16
    for (int t = 0; t < kRows; ++t) store_outputs(w, tile + i, header + i * w.tile_bytes, F16{sum[t][i]}, out[t]);
}

template <class Format, int kRows>
void stream_few(const TileRange& w, const ActivationRows& rows) {
  if constexpr (kRows > 0) {
    if (rows.count < kRows) return stream_few<Format, kRows - 1>(w, rows);
    constexpr int kTiles = kRows <= 2 ? Format::kStreamTiles : 2;
    std::int64_t tile = w.begin;
    for (; tile + kTiles <= w.begin + w.count; tile += kTiles)
      stream_pairs<Format, kRows, kTiles>(w, tile, rows.x, rows.out);
    for (; tile < w.begin + w.count; ++tile) stream_pairs<Format, kRows, 1>(w, tile, rows.x, rows.out);
  }
}

// Many rows: kPanelTiles tiles by kPanelBlocks blocks decoded to a panel that stays in the first-level cache while
// groups of kGroupRows rows pass; the sums of kPanelRows rows wait in memory between panels.
constexpr int kPanelTiles = 2, kPanelBlocks = 32, kGroupRows = 12, kPanelRows = 252;

struct Panel {
  alignas(64) unsigned char weights[kPanelTiles][kPanelBlocks * 512];
  alignas(64) float sums[kPanelRows][kPanelTiles][16];
};

template <class Format>
INLINE void fill_panel(Panel& panel, int i, const unsigned char* payload, std::int64_t first, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    unsigned char* to = panel.weights[i] + b * 512;
    Format::template weights<1>(payload + (first + b) * Format::kBlockBytes, 0,
                                [&](int pair, int, Weights weight) INLINE_LAMBDA {
                                  _mm512_store_si512(to + 64 * pair, reinterpret_cast<__m512i>(weight));
                                });
  }
}

// kRows rows of x from block `first` on, against `blocks` blocks of kTiles tiles' weights; `sums` [kRows, kPanelTiles].
// Meanwhile asks for kAhead bytes a block of each tile's `next`.
template <int kRows, int kTiles, int kAhead>
void panel_rows(const unsigned char* const* weights, std::int64_t first, std::int64_t blocks, const void* const* x,
                float (*sums)[kPanelTiles][16], const unsigned char* const* next) {
  const Activation* row[kRows];
  __m512 sum[kRows][kTiles];
#pragma GCC unroll 16
  for (int t = 0; t < kRows; ++t) {
    row[t] = static_cast<const Activation*>(x[t]) + first * kTileDepth;
#pragma GCC unroll 2
    for (int i = 0; i < kTiles; ++i) sum[t][i] = _mm512_load_ps(sums[t][i]);
  }
  for (std::int64_t b = 0; b < blocks; ++b) {
#pragma GCC unroll 2
    for (int i = 0; i < kTiles; ++i)
#pragma GCC unroll 8
      for (int line = 0; line < kAhead / 64; ++line) __builtin_prefetch(next[i] + b * kAhead + line * 64, 0, 2);
#pragma GCC unroll 8
    for (int pair = 0; pair < 8; ++pair) {
      Weights weight[kTiles];
#pragma GCC unroll 2
      for (int i = 0; i < kTiles; ++i) weight[i] = weights_of(load_bits(weights[i] + b * 512 + 64 * pair));
#pragma GCC unroll 16
      for (int t = 0; t < kRows; ++t) {
        const Weights value = activation_pair(row[t] + b * kTileDepth + 2 * pair);
#pragma GCC unroll 2
        for (int i = 0; i < kTiles; ++i) sum[t][i] = _mm512_dpbf16_ps(sum[t][i], weight[i], value);
      }
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kRows; ++t)
#pragma GCC unroll 2
    for (int i = 0; i < kTiles; ++i) _mm512_store_ps(sums[t][i], sum[t][i]);
}

template <class Format, int kTiles>
void panel_tiles(const TileRange& w, std::int64_t tile, const void* const* x, float* const* out, std::int64_t count,
                 Panel& panel) {
  const unsigned char* header[kTiles];
  for (int i = 0; i < kTiles; ++i) header[i] = w.tiles + (tile + i) * w.tile_bytes;
  __builtin_memset(panel.sums, 0, std::size_t(count) * sizeof panel.sums[0]);
  for (std::int64_t first = 0; first < w.k_blocks; first += kPanelBlocks) {
    const std::int64_t blocks = w.k_blocks - first < kPanelBlocks ? w.k_blocks - first : kPanelBlocks;
    const unsigned char *weights[kTiles], *next[kTiles];
    for (int i = 0; i < kTiles; ++i) {
      const unsigned char* payload = header[i] + kTileHeader;
      weights[i] = Format::kIsPanel ? payload + first * 512 : panel.weights[i];
      if constexpr (!Format::kIsPanel) fill_panel<Format>(panel, i, payload, first, blocks);
      next[i] = first + kPanelBlocks < w.k_blocks ? payload + (first + kPanelBlocks) * Format::kBlockBytes
                                                  : payload + kTiles * w.tile_bytes;
    }
    // The first rows of a panel ask for the next one, so that memory works while the others multiply.
    const auto rows = [&]<int kRows>(std::int64_t t) INLINE_LAMBDA {
      if (t == 0)
        panel_rows<kRows, kTiles, Format::kBlockBytes>(weights, first, blocks, x, panel.sums, next);
      else
        panel_rows<kRows, kTiles, 0>(weights, first, blocks, x + t, panel.sums + t, next);
      return t + kRows;
    };
    std::int64_t t = 0;
    while (t + kGroupRows <= count) t = rows.template operator()<kGroupRows>(t);
    if (t + 8 <= count) t = rows.template operator()<8>(t);
    if (t + 4 <= count) t = rows.template operator()<4>(t);
    while (t < count) t = rows.template operator()<1>(t);
  }
  for (int i = 0; i < kTiles; ++i)
    for (std::int64_t t = 0; t < count; ++t) {
      F16 sum;
      load(sum, panel.sums[t][i]);
      store_outputs(w, tile + i, header[i], sum, out[t]);
    }
}

// Decoding hides behind the products of six rows by two tiles, so that block scales need no panels.
template <class Format>
void stream_many(const TileRange& w, const ActivationRows& rows) {
  for (std::int64_t tile = w.begin; tile < w.begin + w.count; tile += 2) {
    TileRange two = w;
    two.begin = tile;
    two.count = tile + 2 <= w.begin + w.count ? 2 : 1;
    for (std::int64_t t = 0; t < rows.count; t += Format::kStreamRows) {
      const std::int64_t left = rows.count - t;
      stream_few<Format, Format::kStreamRows>(
          two, {rows.x + t, rows.out + t, left < Format::kStreamRows ? left : Format::kStreamRows});
    }
  }
}

template <class Format>
void multiply_panels(const TileRange& w, const ActivationRows& rows) {
  Panel panel;
  for (std::int64_t tile = w.begin; tile < w.begin + w.count; tile += kPanelTiles)
    for (std::int64_t t = 0; t < rows.count; t += kPanelRows) {
      const std::int64_t count = rows.count - t < kPanelRows ? rows.count - t : kPanelRows;
      if (tile + 1 < w.begin + w.count)
        panel_tiles<Format, 2>(w, tile, rows.x + t, rows.out + t, count, panel);
      else
        panel_tiles<Format, 1>(w, tile, rows.x + t, rows.out + t, count, panel);
    }
}

template <class Format>
void matmul_pairs(const TileRange& w, const ActivationRows& rows) {
  if (rows.count <= Format::kStreamRows)
    stream_few<Format, Format::kStreamRows>(w, rows);
  else if constexpr (Format::kScaled)
    stream_many<Format>(w, rows);
  else
    multiply_panels<Format>(w, rows);
}
