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

/// Whether `prefill_ssd` takes such shapes; Hopper only.
bool fits_prefill_ssd(ConstRows xBC, Rows out, const ScanShape& shape);
/// The scan by chunks of 64 tokens, as products in tf32: for `fast` numerics.
void prefill_ssd(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
                 const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state,
                 Rows out);

}  // namespace strata::cuda
