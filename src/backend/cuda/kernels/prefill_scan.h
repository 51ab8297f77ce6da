// Mamba-2's convolution and scan for sequences of many tokens, with the bits of mamba.h.
#pragma once

#include "backend/cuda/kernels/mamba.h"

namespace strata::cuda {

/// Whether `prefill_conv` takes so many taps.
bool fits_prefill_conv(std::int64_t width);
/// `causal_conv1d_silu`, for sequences that have many tokens.
void prefill_conv(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows x, const float* kernel,
                  const float* bias, std::uint16_t* state, std::int64_t channels, std::int64_t width, Rows out);

/// Whether `prefill_scan` takes such shapes.
bool fits_prefill_scan(ConstRows xBC, const ScanShape& shape);
/// `ssd_scan`, for sequences that have many tokens.
void prefill_scan(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
                  const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state,
                  Rows out);

/// What a Mamba-2 block's convolution and scan read.
struct SsdInputs {
  ConstRows x;  // of the convolution
  const float *kernel, *conv_bias;
  std::uint16_t* conv_state;
  ConstRows dt;
  const float *A_log, *D, *dt_bias;
  float* state;
};
/// Whether `prefill_ssd` takes such shapes, and a convolution of `width` taps; Hopper only.
bool fits_prefill_ssd(ConstRows x, Rows out, const ScanShape& shape, std::int64_t width);
/// Bytes of scratch memory that it needs.
std::int64_t prefill_ssd_bytes(std::int64_t rows, std::int64_t sequences, const ScanShape& shape);
/// At least as many, for heads of up to `inner` values in all: four heads and more share a group.
constexpr std::int64_t most_ssd_bytes(std::int64_t rows, std::int64_t sequences, std::int64_t inner) {
  return 5 * rows * inner + (rows / 128 + sequences + 1) * inner * 257 + 6 * 256;
}
/// Convolution and scan by chunks of 128 tokens, as products in float16 with float32 sums: for `fast` numerics. `rows`:
/// of the step; `spans`: of the batch.
void prefill_ssd(const Launch& to, DeviceBatch batch, std::int64_t rows, std::int64_t sequences, std::int64_t spans,
                 const SsdInputs& in, const ScanShape& shape, std::byte* scratch, Rows out);

}  // namespace strata::cuda
