// Linear layers as the CPU's kernels read them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/memory.h"
#include "base/thread_pool.h"

namespace strata {

/// One weight in tiles of 16 output rows; see kernels/kernel_table.h for the layout.
struct PackedWeight {
  PackedFormat format = PackedFormat::f32;
  std::byte* tiles = nullptr;
  std::int64_t k_blocks = 0, tile_bytes = 0;
  float scale = 1;  // of the whole weight; the row scales contain it
};

struct PackedLinear : Linear {
  Buffer data;
  std::vector<PackedWeight> weights;  // one an expert

  std::int64_t tiles() const { return (out_features + kTileRows - 1) / kTileRows; }
  TileRange range(std::int64_t expert, std::int64_t begin, std::int64_t count) const {
    const PackedWeight& w = weights[static_cast<std::size_t>(expert)];
    return {reinterpret_cast<const unsigned char*>(w.tiles), w.k_blocks, w.tile_bytes, out_features, begin, count};
  }
};

/// Columns of a row of activations with the zeros that fill its last block.
constexpr std::int64_t padded_features(std::int64_t n) { return (n + kTileDepth - 1) / kTileDepth * kTileDepth; }

/// Memory that grows and is never zeroed.
class StagingBuffer {
 public:
  std::span<std::byte> take(std::int64_t bytes);

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::int64_t size_ = 0;
};

/// Reads and repacks, block of rows by block of rows, and keeps what it reads into for the next weight.
class WeightPacker {
 public:
  WeightPacker(const KernelTable& kernels, ThreadPool& pool, HostArena& arena);
  /// Throws Error{bad_model}.
  std::unique_ptr<PackedLinear> pack(std::span<const LinearWeight> experts);

 private:
  // What a worker has read of a block of rows: values or codes, and NVFP4's block scales.
  struct StagedRows {
    StagingBuffer values, scales;
  };
  void pack_rows(const LinearWeight& source, const PackedWeight& w, std::int64_t first_tile, std::int64_t tiles,
                 StagedRows& staged) const;

  const KernelTable& kernels_;
  ThreadPool& pool_;
  HostArena& arena_;
  std::vector<StagedRows> staged_;
};

/// Bytes of the packed weights.
std::int64_t packed_size(std::span<const LinearWeight> experts);
/// Row `row` as float, all scales applied, as decode_row gives it for the weight that was packed.
void unpack_row(const PackedLinear& linear, std::int64_t expert, std::int64_t row, float* out);

}  // namespace strata
