#include "backend/cuda/cuda_weights.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"

namespace strata::cuda {

Format format_of(const LinearWeight& w) {
  if (std::holds_alternative<Nvfp4Weight>(w)) return Format::nvfp4;
  if (const auto* fp8 = std::get_if<Fp8Weight>(&w)) {
    if (fp8->values.dtype == DType::f8_e4m3) return Format::fp8;
    throw Error(ErrorCode::bad_model, "the cuda backend has no kernel for FP8 weights of type " +
                                          std::string(name_of(fp8->values.dtype)) + "; it takes e4m3");
  }
  const DType dtype = std::get<DenseWeight>(w).values.dtype;
  if (dtype == DType::bf16) return Format::bf16;
  if (dtype == DType::f32) return Format::f32;
  throw Error(ErrorCode::bad_model, "the cuda backend has no kernel for linear weights of type " +
                                        std::string(name_of(dtype)) + "; it takes bf16, f32, fp8 and nvfp4");
}

float scale_of(const LinearWeight& w) {
  if (const auto* n = std::get_if<Nvfp4Weight>(&w)) return n->global_scale * 128.0f;
  if (const auto* f = std::get_if<Fp8Weight>(&w)) return f->scale;
  return 1;
}

namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{64} << 20, kReadBytes = std::int64_t{4} << 20, kAlignment = 256;
constexpr std::size_t kPieces = 3, kMostParts = 4096;

const StoredMatrix& values_of(const LinearWeight& w) {
  if (const auto* n = std::get_if<Nvfp4Weight>(&w)) return n->codes;
  if (const auto* f = std::get_if<Fp8Weight>(&w)) return f->values;
  return std::get<DenseWeight>(w).values;
}

std::vector<Format> formats_of(std::span<const LinearWeight> experts) {
  CHECK(!experts.empty(), "a linear layer without weights");
  const std::int64_t rows = out_features(experts[0]), cols = in_features(experts[0]);
  if (rows < 1 || cols < 1) throw Error(ErrorCode::bad_model, "a linear weight without rows or columns");
  std::vector<Format> formats;
  for (const LinearWeight& w : experts) {
    if (out_features(w) != rows || in_features(w) != cols)
      throw Error(ErrorCode::bad_model, "experts of one layer differ in shape: [" + std::to_string(rows) + ", " +
                                            std::to_string(cols) + "] and [" + std::to_string(out_features(w)) + ", " +
                                            std::to_string(in_features(w)) + "]");
    formats.push_back(format_of(w));
  }
  return formats;
}

std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::int64_t matrix_bytes(std::int64_t rows, std::int64_t cols, Format format) {
  const PackedBank shape{nullptr, {}, rows, cols};
  return shape.row_tiles() * shape.col_tiles() * tile_bytes(format);
}

std::string_view name_of_format(Format f) {
  switch (f) {
    case Format::bf16:
      return "bf16";
    case Format::fp8:
      return "fp8";
    case Format::nvfp4:
      return "nvfp4";
    case Format::f32:
      return "f32";
  }
  return "?";
}

}  // namespace

std::int64_t linear_bytes(std::int64_t rows, std::int64_t cols, std::span<const Format> formats) {
  std::int64_t bytes = 0;
  for (const Format f : formats) bytes += aligned(matrix_bytes(rows, cols, f));
  return bytes + aligned(static_cast<std::int64_t>(formats.size() * sizeof(PackedMatrix)));
}

std::int64_t packed_bytes(std::span<const LinearWeight> experts) {
  return linear_bytes(out_features(experts[0]), in_features(experts[0]), formats_of(experts));
}

std::unique_ptr<CudaLinear> make_linear(const Launch& to, std::int64_t rows, std::int64_t cols,
                                        std::span<const Format> formats, std::span<const float> scales, Buffer memory) {
  auto linear = std::make_unique<CudaLinear>();
  linear->in_features = cols;
  linear->out_features = rows;
  linear->experts = static_cast<std::int64_t>(formats.size());
  linear->format = name_of_format(formats[0]);
  linear->packed_bytes = linear_bytes(rows, cols, formats);
  linear->memory = std::move(memory);
  std::vector<PackedMatrix> matrices;
  std::byte* at = linear->memory.get();
  for (std::size_t e = 0; e < formats.size(); ++e) {
    matrices.push_back({at, scales[e], formats[e]});
    at += aligned(matrix_bytes(rows, cols, formats[e]));
    if (formats[e] != formats[0]) linear->format = "mixed";
  }
  CUDA_CHECK(
      cudaMemcpyAsync(at, matrices.data(), matrices.size() * sizeof(PackedMatrix), cudaMemcpyHostToDevice, to.stream));
  linear->bank = {reinterpret_cast<const PackedMatrix*>(at),    matrices[0], rows, cols, linear->format != "mixed",
                  aligned(matrix_bytes(rows, cols, formats[0]))};
  return linear;
}

/// Page-locked memory for rows of weights and where they go, the same on the device, and when both are free again.
struct WeightLoader::Piece {
  Pinned host = make_pinned(static_cast<std::size_t>(kPieceBytes) + kMostParts * sizeof(RawMatrix));
  std::byte* device = nullptr;
  Event done = make_event();

  Piece() {
    void* memory = nullptr;
    CUDA_CHECK(cudaMalloc(&memory, static_cast<std::size_t>(kPieceBytes) + kMostParts * sizeof(RawMatrix)));
    device = static_cast<std::byte*>(memory);
  }
  ~Piece() { cudaFree(device); }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
};

WeightLoader::WeightLoader(const Launch& to) : to_(to), threads_(std::clamp(available_threads(), 1, 8)) {
  void* memory = nullptr;
  CUDA_CHECK(cudaMalloc(&memory, sizeof(int)));
  bad_ = static_cast<int*>(memory);
}

WeightLoader::~WeightLoader() { cudaFree(bad_); }

WeightLoader::Piece& WeightLoader::next_piece() {
  if (ring_.size() < kPieces) {
    ring_.push_back(std::make_unique<Piece>());
    return *ring_.back();
  }
  Piece& piece = *ring_[next_];
  next_ = (next_ + 1) % kPieces;
  CUDA_CHECK(cudaEventSynchronize(piece.done.get()));
  return piece;
}

void WeightLoader::load(std::span<const LinearWeight> experts, CudaLinear& linear) {
  struct Read {
    const StoredMatrix* from;
    std::int64_t first, count;
    std::byte* to;
  };
  const std::int64_t rows = linear.out_features, cols = linear.in_features, col_tiles = linear.bank.col_tiles();
  CUDA_CHECK(cudaMemsetAsync(bad_, 0, sizeof(int), to_.stream));
  std::byte* tiles = linear.memory.get();
  std::size_t expert = 0;
  std::int64_t first = 0;
  while (expert < experts.size()) {
    // As many rows as a piece holds, whole tiles of them where a matrix is cut.
    Piece& piece = next_piece();
    auto* raw = reinterpret_cast<RawMatrix*>(piece.host.get() + kPieceBytes);
    std::vector<Read> reads;
    std::int64_t used = 0, most_rows = 0;
    std::size_t parts = 0;
    const auto add_reads = [&](const StoredMatrix& m, std::int64_t begin, std::int64_t count) {
      std::byte* to = piece.host.get() + used;
      const std::int64_t each = std::max<std::int64_t>(1, kReadBytes / m.row_bytes());
      for (std::int64_t at = 0; at < count; at += each)
        reads.push_back({&m, begin + at, std::min(each, count - at), to + at * m.row_bytes()});
      const std::byte* device = piece.device + used;
      used += aligned(count * m.row_bytes());
      return device;
    };
    while (expert < experts.size() && parts < kMostParts) {
      const LinearWeight& w = experts[expert];
      const auto* nvfp4 = std::get_if<Nvfp4Weight>(&w);
      const std::int64_t row_bytes = values_of(w).row_bytes() + (nvfp4 ? nvfp4->scales.row_bytes() : 0);
      const std::int64_t room = (kPieceBytes - used - 2 * kAlignment) / row_bytes;
      std::int64_t count = rows - first;
      if (count > room) count = room / kTileRows * kTileRows;
      if (count <= 0) {
        if (parts == 0)
          throw Error(ErrorCode::bad_model, "a linear weight has rows of " + std::to_string(row_bytes) +
                                                " bytes; 16 of them must fit in 64 MiB");
        break;
      }
      const Format format = format_of(w);
      RawMatrix& to = raw[parts++];
      to.values = add_reads(values_of(w), first, count);
      to.scales = nvfp4 ? add_reads(nvfp4->scales, first, count) : nullptr;
      to.tiles = tiles + first / kTileRows * col_tiles * tile_bytes(format);
      to.rows = count;
      to.format = format;
      most_rows = std::max(most_rows, count);
      first += count;
      if (first == rows) {
        tiles += aligned(matrix_bytes(rows, cols, format));
        first = 0;
        ++expert;
      }
    }
    threads_.run(static_cast<std::int64_t>(reads.size()), [&](std::int64_t i, int) {
      const Read& r = reads[static_cast<std::size_t>(i)];
      r.from->read_rows(r.first, r.count, {r.to, static_cast<std::size_t>(r.count * r.from->row_bytes())});
    });
    CUDA_CHECK(cudaMemcpyAsync(piece.device, piece.host.get(), static_cast<std::size_t>(used), cudaMemcpyHostToDevice,
                               to_.stream));
    CUDA_CHECK(cudaMemcpyAsync(piece.device + kPieceBytes, raw, parts * sizeof(RawMatrix), cudaMemcpyHostToDevice,
                               to_.stream));
    pack(to_, reinterpret_cast<const RawMatrix*>(piece.device + kPieceBytes), static_cast<std::int64_t>(parts),
         most_rows, cols, bad_);
    CUDA_CHECK(cudaEventRecord(piece.done.get(), to_.stream));
  }
  int bad = 0;
  CUDA_CHECK(cudaMemcpyAsync(&bad, bad_, sizeof bad, cudaMemcpyDeviceToHost, to_.stream));
  CUDA_CHECK(cudaStreamSynchronize(to_.stream));
  if (bad) {
    const File* file = values_of(experts[0]).bytes.file();
    throw Error(ErrorCode::bad_model, (file ? file->path().string() + ": a" : std::string("a")) +
                                          " weight or scale of a linear layer [" + std::to_string(rows) + ", " +
                                          std::to_string(cols) + "] is NaN; the file is damaged: download it again");
  }
}

}  // namespace strata::cuda
