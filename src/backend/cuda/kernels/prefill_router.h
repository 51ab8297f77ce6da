// A router's product for prompts, with the bits of moe.h's.
#pragma once

#include "backend/cuda/kernels/rows.h"

namespace strata::cuda {

/// Whether `prefill_linear_f32` takes such an input.
bool fits_prefill_linear_f32(ConstRows x, const float* w, std::int64_t cols);
/// `linear_f32`, for many rows.
void prefill_linear_f32(const Launch& to, ConstRows x, const float* w, std::int64_t rows, std::int64_t cols,
                        std::int64_t features, Rows out);

}  // namespace strata::cuda
