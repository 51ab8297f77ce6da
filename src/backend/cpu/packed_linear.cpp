// Repacking of stored weights into tiles.
#include "backend/cpu/packed_linear.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "base/error.h"

namespace strata {
namespace {

// What a thread reads at a time: fits the second-level cache beside the tiles made of it.
constexpr std::int64_t kStagingBytes = std::int64_t{320} << 10;
// Parts of a weight for each thread at the least, so that they end together.
constexpr std::int64_t kPartsPerThread = 4;

PackedFormat packed_format(const LinearWeight& w) {
  if (std::holds_alternative<Nvfp4Weight>(w)) return PackedFormat::nvfp4;
  const StoredMatrix& values =
      std::holds_alternative<Fp8Weight>(w) ? std::get<Fp8Weight>(w).values : std::get<DenseWeight>(w).values;
  if (std::holds_alternative<Fp8Weight>(w)) {
    if (values.dtype == DType::f8_e4m3) return PackedFormat::fp8;
  } else if (values.dtype == DType::bf16) {
    return PackedFormat::bf16;
  } else if (values.dtype == DType::f32) {
    return PackedFormat::f32;
  }
  throw Error(ErrorCode::bad_model, "the cpu backend has no kernel for linear weights of type " +
                                        std::string(name_of(values.dtype)) + "; it takes bf16, f32, fp8 and nvfp4");
}

std::int64_t blocks_of(const LinearWeight& w) { return (in_features(w) + kTileDepth - 1) / kTileDepth; }
std::int64_t tiles_of(const LinearWeight& w) { return (out_features(w) + kTileRows - 1) / kTileRows; }

void check_shapes(std::span<const LinearWeight> experts) {
  CHECK(!experts.empty(), "a linear layer without weights");
  const std::int64_t out = out_features(experts[0]), in = in_features(experts[0]);
  if (out < 1 || in < 1) throw Error(ErrorCode::bad_model, "a linear weight without rows or columns");
  for (const LinearWeight& w : experts) {
    if (out_features(w) != out || in_features(w) != in)
      throw Error(ErrorCode::bad_model, "experts of one layer differ in shape: [" + std::to_string(out) + ", " +
                                            std::to_string(in) + "] and [" + std::to_string(out_features(w)) + ", " +
                                            std::to_string(in_features(w)) + "]");
    if (std::holds_alternative<Nvfp4Weight>(w)) CHECK(in % kNvfp4Block == 0, "NVFP4 columns are no multiple of 16");
  }
}

// Rows to the lanes of a tile, a word of each beside another: out[word][lane] = in[lane][word]; absent lanes stay zero.
void pack_words(const KernelTable& kernels, const std::byte* in, std::int64_t row_bytes, std::int64_t rows,
                std::byte* out) {
  const std::int64_t words = row_bytes / 4, rest = row_bytes % 4;
  if (rows == kTileRows && rest == 0) {
    kernels.transpose(reinterpret_cast<const float*>(in), rows, words, reinterpret_cast<float*>(out), kTileRows);
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t w = 0; w < words; ++w) std::memcpy(out + (w * kTileRows + r) * 4, in + r * row_bytes + w * 4, 4);
    std::memcpy(out + (words * kTileRows + r) * 4, in + r * row_bytes + words * 4, static_cast<std::size_t>(rest));
  }
}

const unsigned char* bytes_of(const std::byte* p) { return reinterpret_cast<const unsigned char*>(p); }

void pack_bytes(const KernelTable& kernels, const std::byte* in, std::int64_t row_bytes, std::int64_t rows,
                std::byte* out) {
  if (rows == kTileRows) {
    kernels.transpose_bytes(bytes_of(in), row_bytes, reinterpret_cast<unsigned char*>(out));
    return;
  }
  for (std::int64_t c = 0; c < row_bytes; ++c)
    for (std::int64_t r = 0; r < rows; ++r) out[c * kTileRows + r] = in[r * row_bytes + c];
}

void write_row_scales(const KernelTable& kernels, const PackedWeight& w, const std::byte* e4m3, std::int64_t row_bytes,
                      std::int64_t rows, std::byte* tile) {
  float scales[kTileRows] = {};
  for (std::int64_t r = 0; r < rows; ++r) {
    scales[r] = e4m3 ? w.scale * kE4m3Divisor : w.scale;
    if (e4m3 && kernels.has_nan_code(bytes_of(e4m3 + r * row_bytes), row_bytes))
      scales[r] = std::numeric_limits<float>::quiet_NaN();
  }
  std::memcpy(tile, scales, sizeof scales);
}

float scale_of(const LinearWeight& w) {
  if (const auto* q = std::get_if<Nvfp4Weight>(&w)) return q->global_scale;
  if (const auto* q = std::get_if<Fp8Weight>(&w)) return q->scale;
  return 1;
}

std::int64_t weight_size(const LinearWeight& w) {
  return (tiles_of(w) * tile_bytes(packed_format(w), blocks_of(w)) + 255) / 256 * 256;
}

}  // namespace

std::int64_t packed_size(std::span<const LinearWeight> experts) {
  check_shapes(experts);
  std::int64_t bytes = 0;
  for (const LinearWeight& w : experts) bytes += weight_size(w);
  return bytes;
}

std::span<std::byte> StagingBuffer::take(std::int64_t bytes) {
  if (bytes > size_) {
    memory_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(bytes));
    size_ = bytes;
  }
  return {memory_.get(), static_cast<std::size_t>(bytes)};
}

WeightPacker::WeightPacker(const KernelTable& kernels, ThreadPool& pool, HostArena& arena)
    : kernels_(kernels), pool_(pool), arena_(arena), staged_(static_cast<std::size_t>(pool.size())) {}

void WeightPacker::pack_rows(const LinearWeight& source, const PackedWeight& w, std::int64_t first_tile,
                             std::int64_t tiles, StagedRows& staged) const {
  const auto* nvfp4 = std::get_if<Nvfp4Weight>(&source);
  const StoredMatrix& values = nvfp4                                       ? nvfp4->codes
                               : std::holds_alternative<Fp8Weight>(source) ? std::get<Fp8Weight>(source).values
                                                                           : std::get<DenseWeight>(source).values;
  const std::int64_t first = first_tile * kTileRows, count = std::min(tiles * kTileRows, values.rows - first);
  const std::span<std::byte> staged_values = staged.values.take(count * values.row_bytes());
  values.read_rows(first, count, staged_values);
  std::span<std::byte> staged_scales;
  if (nvfp4) {
    staged_scales = staged.scales.take(count * nvfp4->scales.row_bytes());
    nvfp4->scales.read_rows(first, count, staged_scales);
  }
  for (std::int64_t t = 0; t < tiles; ++t) {
    std::byte* tile = w.tiles + (first_tile + t) * w.tile_bytes;
    const std::int64_t rows = std::min(kTileRows, count - t * kTileRows), row_bytes = values.row_bytes();
    const std::byte* in = staged_values.data() + t * kTileRows * row_bytes;
    const std::byte* e4m3 = w.format == PackedFormat::fp8 ? in : nullptr;
    std::int64_t e4m3_bytes = row_bytes;
    if (w.format == PackedFormat::fp8)
      pack_bytes(kernels_, in, row_bytes, rows, tile + kTileHeader);
    else
      pack_words(kernels_, in, row_bytes, rows, tile + kTileHeader);
    if (nvfp4) {
      kernels_.part_even_from_odd(reinterpret_cast<std::uint32_t*>(tile + kTileHeader), w.k_blocks * 2 * kTileRows);
      e4m3_bytes = nvfp4->scales.row_bytes();
      e4m3 = staged_scales.data() + t * kTileRows * e4m3_bytes;
      pack_bytes(kernels_, e4m3, e4m3_bytes, rows, tile + kTileHeader + w.k_blocks * 128);
    }
    write_row_scales(kernels_, w, e4m3, e4m3_bytes, rows, tile);
  }
}

std::unique_ptr<PackedLinear> WeightPacker::pack(std::span<const LinearWeight> experts) {
  auto linear = std::make_unique<PackedLinear>();
  linear->packed_bytes = packed_size(experts);
  linear->data = arena_.take(linear->packed_bytes);
  linear->in_features = in_features(experts[0]);
  linear->out_features = out_features(experts[0]);
  linear->experts = static_cast<std::int64_t>(experts.size());
  linear->format = format_name(experts[0]);
  std::int64_t offset = 0, widest_row = 1;
  for (const LinearWeight& w : experts) {
    if (format_name(w) != linear->format) linear->format = "mixed";
    const PackedFormat format = packed_format(w);
    linear->weights.push_back(
        {format, linear->data.get() + offset, blocks_of(w), tile_bytes(format, blocks_of(w)), scale_of(w)});
    offset += weight_size(w);
    widest_row = std::max(widest_row, stored_bytes(w) / out_features(w));
  }
  const std::int64_t tiles = linear->tiles();
  const std::int64_t most = std::max<std::int64_t>(tiles * linear->experts / (kPartsPerThread * pool_.size()), 1);
  const std::int64_t step =
      std::clamp<std::int64_t>(kStagingBytes / (kTileRows * widest_row), 1, std::min(tiles, most));
  const std::int64_t steps = (tiles + step - 1) / step;
  pool_.run(linear->experts * steps, [&](std::int64_t item, int worker) {
    const std::int64_t e = item / steps, first = item % steps * step;
    pack_rows(experts[static_cast<std::size_t>(e)], linear->weights[static_cast<std::size_t>(e)], first,
              std::min(step, tiles - first), staged_[static_cast<std::size_t>(worker)]);
  });
  return linear;
}

void unpack_row(const PackedLinear& linear, std::int64_t expert, std::int64_t row, float* out) {
  const PackedWeight& w = linear.weights[static_cast<std::size_t>(expert)];
  const std::byte* payload = w.tiles + row / kTileRows * w.tile_bytes + kTileHeader;
  const std::int64_t lane = row % kTileRows;
  const auto word = [&](std::int64_t i) {
    std::uint32_t bits;
    std::memcpy(&bits, payload + (i * kTileRows + lane) * 4, 4);
    return bits;
  };
  const auto byte = [&](std::int64_t at) { return std::to_integer<std::uint8_t>(payload[at * kTileRows + lane]); };
  for (std::int64_t k = 0; k < linear.in_features; ++k) switch (w.format) {
      case PackedFormat::f32:
        out[k] = std::bit_cast<float>(word(k));
        break;
      case PackedFormat::bf16:
        out[k] = static_cast<float>(bf16{static_cast<std::uint16_t>(word(k / 2) >> (k % 2 * 16))});
        break;
      case PackedFormat::fp8:
        out[k] = decode_e4m3(byte(k)) * w.scale;
        break;
      case PackedFormat::nvfp4:
        out[k] = decode_e2m1((word(k / 8) >> (k % 2 * 16 + k % 8 / 2 * 4)) & 15u) *
                 decode_e4m3(byte(w.k_blocks * 8 + k / kTileDepth)) * w.scale;
        break;
    }
}

}  // namespace strata
