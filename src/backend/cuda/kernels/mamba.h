// Mamba-2's convolution and scan.
#pragma once

#include "backend/cuda/kernels/rows.h"

namespace strata::cuda {

/// y = silu(bias + sum_k w_k x), x rounded to bf16; state: bf16 [slots, width - 1, channels]. `spans`: of the batch.
void causal_conv1d_silu(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows x, const float* kernel,
                        const float* bias, std::uint16_t* state, std::int64_t channels, std::int64_t width, Rows out);

struct ScanShape {
  std::int64_t heads = 0, head_dim = 0, state_size = 0, groups = 1;
  float dt_min = 0, dt_max = 0;
};
/// The largest state_size that the scan has a kernel for.
inline constexpr std::int64_t kMostStateSize = 256;

/// The recurrence, token by token, in float32.
void ssd_scan(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
              const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state, Rows out);

}  // namespace strata::cuda
