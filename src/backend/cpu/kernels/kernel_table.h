// The kernels of one instruction set as plain functions over plain pointers, and the layout of packed weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strata {

/// How one packed weight is kept; also the index of its kernel in the table.
enum class PackedFormat : int { f32, bf16, fp8, nvfp4 };
inline constexpr int kPackedFormats = 4;

/// A packed weight is a row of tiles of 16 output rows, a lane an output row, K padded with zeros to blocks of 16.
/// A tile: 16 f32 row scales, then its blocks in ascending k. A block, for k = 0..15 and lane r = 0..15:
///   f32    f32 [16 k][16 lanes]
///   bf16   u32 [8 pairs of k][16 lanes], the even k in the low half
///   fp8    u8 [16 k][16 lanes]
///   nvfp4  u32 [2][16 lanes], 8 codes each: from the low bits up those of k = 0, 2, 4, 6, then 1, 3, 5, 7, so that
///          a shift puts a pair of k where bf16 pairs have theirs; behind all blocks' codes the block scales,
///          e4m3 [blocks][16 lanes]
/// The row scale holds what multiplies the finished sum: per-tensor scales, and kE4m3Divisor where e4m3 is involved. It
/// is NaN where a row holds a NaN code, so that kernels need not look for one.
inline constexpr std::int64_t kTileRows = 16;
/// Kernels decode e4m3 / 256, which is exact.
inline constexpr float kE4m3Divisor = 256;
inline constexpr std::int64_t kTileDepth = 16;
inline constexpr std::int64_t kTileHeader = kTileRows * 4;

constexpr std::int64_t tile_bytes(PackedFormat format, std::int64_t k_blocks) {
  const std::int64_t block = format == PackedFormat::f32    ? 1024
                             : format == PackedFormat::bf16 ? 512
                             : format == PackedFormat::fp8  ? 256
                                                            : 128 + 16;
  return (kTileHeader + k_blocks * block + 63) / 64 * 64;
}

/// Tiles [begin, begin + count) of a packed weight with `rows` output rows.
struct TileRange {
  const unsigned char* tiles = nullptr;
  std::int64_t k_blocks = 0, tile_bytes = 0, rows = 0;
  std::int64_t begin = 0, count = 0;
};

/// `count` rows of activations as round_activations left them, padded with zeros to whole blocks of K, and where their
/// products go; out[t] is the row's first output, whatever the tile range.
struct ActivationRows {
  const void* const* x = nullptr;
  float* const* out = nullptr;
  std::int64_t count = 0;
};

inline constexpr std::int64_t kMaxConvWidth = 16;

/// A part of the causal convolution: at most 128 `channels` from `first` on, of one sequence's `count` rows.
struct ConvPart {
  const float* x = nullptr;
  float* out = nullptr;
  std::int64_t x_stride = 0, out_stride = 0, count = 0;
  const float *kernel = nullptr, *bias = nullptr;  // [channels, width], [channels]
  std::uint16_t* state = nullptr;                  // bf16 [width - 1, all channels]
  std::int64_t all_channels = 0, width = 0, first = 0, channels = 0;
};

/// A part of the scan: `rows` rows of one head's state over `count` tokens.
struct ScanPart {
  const float *x = nullptr, *B = nullptr, *C = nullptr;  // of the first token
  float* out = nullptr;
  std::int64_t in_stride = 0, out_stride = 0, count = 0;
  const float *dt = nullptr, *decay = nullptr;  // [count]
  float D = 0;
  float* state = nullptr;  // [rows, state_size]
  std::int64_t rows = 0, state_size = 0;
};

/// Keys and values of a block of positions, as attention reads them: bf16, keys by pairs of dimensions, so that a lane
/// is a key and 32 bits are two of its dimensions, the even one in the low half.
struct KeyBlock {
  const std::uint32_t* keys = nullptr;    // [(head_dim + 1) / 2, keys_stride]; what lies behind `count` doesn't matter
  const std::uint16_t* values = nullptr;  // [count, head_dim]
  std::int64_t keys_stride = 0, count = 0, head_dim = 0;
  /// Where the next block's rows lie in the cache, `row_bytes` each: asked for while this one is computed.
  const std::byte *next_keys = nullptr, *next_values = nullptr;  // nullptr: there is none
  std::int64_t row_bytes = 0;
};

/// One query's running softmax: the largest score, the sum of weights, and the weighted values.
struct QueryState {
  const void* query = nullptr;  // [head_dim] as round_activations left it, padded with a zero to an even number
  float* values = nullptr;      // [head_dim]
  float largest = 0, total = 0;
  std::int64_t visible = 0;  // keys of the block that it sees
};
/// The most keys of a block.
inline constexpr std::int64_t kKeyBlock = 64;

/// Every function's result for a row, channel or query depends on its own inputs alone, bit for bit.
struct KernelTable {
  std::int64_t activation_bytes;  // of one value of ActivationRows::x
  /// out[t][o] = sum over k of x[t][k] w[o][k], times the row scale, for the outputs o of the tiles.
  void (*matmul[kPackedFormats])(const TileRange& w, const ActivationRows& rows);
  /// out[r] = x . w[r] in f32, for `rows` rows of w.
  void (*dots)(const float* x, const float* w, std::int64_t stride, std::int64_t rows, std::int64_t n, float* out);
  /// x rounded to bf16 as ActivationRows wants it, then zeros up to `padded` values.
  void (*round_activations)(const float* x, std::int64_t n, std::int64_t padded, void* out);
  /// The same of max(0, x)^2, without padding.
  void (*relu_squared_activations)(const float* x, std::int64_t n, void* out);
  void (*add)(const float* x, float* out, std::int64_t n);
  void (*relu_squared)(const float* x, float* out, std::int64_t n);
  void (*rms_norm)(const float* x, const float* weight, std::int64_t n, float eps, float* out);
  /// One group of columns. out may be y.
  void (*gated_rms_norm)(const float* y, const float* z, const float* weight, std::int64_t n, float eps, float* out);
  /// out = sum over i, in order, of weights[i] * rows[i].
  void (*weighted_sum)(const float* const* rows, const float* weights, std::int64_t count, std::int64_t n, float* out);
  void (*conv)(const ConvPart& part);
  void (*scan)(const ScanPart& part);
  /// Takes a block of keys into `count` queries' softmax. scores = scale * q . k.
  void (*attend)(const KeyBlock& block, float scale, QueryState* queries, std::int64_t count);
  /// out[d][j] = in[j][d] for `rows` rows of `dim` words, rows a multiple of 16; rows of `out` are out_stride apart.
  void (*transpose)(const float* in, std::int64_t rows, std::int64_t dim, float* out, std::int64_t out_stride);
  /// e4m3 / kE4m3Divisor as bf16, exactly.
  void (*e4m3_to_bf16)(const unsigned char* in, std::uint16_t* out, std::int64_t n);
  /// out[k][lane] = in[lane][k] for the bytes of 16 rows.
  void (*transpose_bytes)(const unsigned char* in, std::int64_t row_bytes, unsigned char* out);
  /// In each of `n` words of 8 NVFP4 codes: even columns to the low half, odd ones to the high half.
  void (*part_even_from_odd)(std::uint32_t* words, std::int64_t n);
  /// Whether one of `n` e4m3 codes is NaN.
  bool (*has_nan_code)(const unsigned char* codes, std::int64_t n);
};

extern const KernelTable kPortableKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
extern const KernelTable kAvx512Bf16Kernels;
#endif

}  // namespace strata
