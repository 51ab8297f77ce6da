// Norms for prompts, with the bits of rows.h, at the speed of their bytes.
#pragma once

#include "backend/cuda/kernels/rows.h"

namespace strata::cuda {

/// Whether `prefill_add_rms_norm` takes such rows.
bool fits_prefill_norm(ConstRows added, const Mixture& mixture, ConstRows x, std::int64_t cols, ConstRows out);
/// `add_rms_norm`.
void prefill_add_rms_norm(const Launch& to, ConstRows added, const Mixture& mixture, Rows x, const float* weight,
                          float eps, std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded);

/// Whether `prefill_gated_norm` takes such rows.
bool fits_prefill_gated_norm(ConstRows y, ConstRows z, std::int64_t groups, std::int64_t cols, ConstRows out);
/// `gated_rms_norm`.
void prefill_gated_norm(const Launch& to, ConstRows y, ConstRows z, const float* weight, std::int64_t groups, float eps,
                        std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded);

}  // namespace strata::cuda
