// Weights on their way from a checkpoint to packed tiles in the GPU's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cuda_handles.h"
#include "backend/cuda/kernels/pack.h"
#include "base/thread_pool.h"

namespace strata::cuda {

struct CudaLinear : Linear {
  Buffer memory;    // tiles of all experts, then their PackedMatrix
  PackedBank bank;  // points into it
};

/// Throws Error{bad_model} for a type without a kernel.
Format format_of(const LinearWeight& w);
/// What multiplies a sum of tiles' products (an nvfp4 tile gives 2^-7 of its weights).
float scale_of(const LinearWeight& w);
/// Bytes that a bank's tiles take. Throws Error{bad_model} for a type without a kernel.
std::int64_t packed_bytes(std::span<const LinearWeight> experts);

/// A bank's memory laid out, its tiles not filled: what a loader and a generator of random weights share.
/// `formats`: one an expert; `scales`: what multiplies an expert's sums.
std::unique_ptr<CudaLinear> make_linear(const Launch& to, std::int64_t rows, std::int64_t cols,
                                        std::span<const Format> formats, std::span<const float> scales, Buffer memory);
/// Bytes of the memory that make_linear takes.
std::int64_t linear_bytes(std::int64_t rows, std::int64_t cols, std::span<const Format> formats);

/// Reads pieces of a bank into page-locked memory with several threads, while the piece before is uploaded and packed.
class WeightLoader {
 public:
  explicit WeightLoader(const Launch& to);
  ~WeightLoader();
  /// Fills the tiles. Throws Error{bad_model} if a code or scale is NaN or a file got shorter.
  void load(std::span<const LinearWeight> experts, CudaLinear& linear);

 private:
  struct Piece;
  Piece& next_piece();

  Launch to_;
  ThreadPool threads_;
  std::vector<std::unique_ptr<Piece>> ring_;
  std::size_t next_ = 0;
  int* bad_ = nullptr;
};

}  // namespace strata::cuda
