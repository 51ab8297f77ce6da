// Mamba-2 for single tokens: convolution, scan and gated norm in one kernel.
#pragma once

#include "backend/cuda/kernels/mamba.h"

namespace strata::cuda {

/// The three ops' arguments, as their own functions take them; sequences of one new token each.
struct MambaStep {
  ConstRows x;  // of the convolution: [sequences, channels], as x, B, C
  const float *kernel = nullptr, *conv_bias = nullptr;
  std::uint16_t* conv_state = nullptr;
  std::int64_t channels = 0, width = 0;
  Rows convolved;

  ConstRows dt;
  const float *A_log = nullptr, *D = nullptr, *dt_bias = nullptr;
  ScanShape shape;
  float* state = nullptr;
  Rows y;

  ConstRows z;
  const float* norm_weight = nullptr;
  std::int64_t norm_groups = 0;
  float eps = 0;
  Rows out;
  RoundedRows rounded;
};

/// Most sequences that one kernel is worth it for.
inline constexpr std::int64_t kStepSequences = 16;

/// Whether `mamba_step` takes such shapes, and is faster for so many sequences than three kernels.
bool fits_mamba_step(const MambaStep& m, std::int64_t sequences);
/// Convolution, scan and gated norm with the bits of the three kernels. Leaves `y` to `out`.
void mamba_step(const Launch& to, DeviceBatch batch, std::int64_t sequences, const MambaStep& m);

}  // namespace strata::cuda
