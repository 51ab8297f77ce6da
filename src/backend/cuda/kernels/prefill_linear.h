// Products for thousands of tokens on Hopper, with the bits of linear.h: the same slices of K in the same order.
#pragma once

#include "backend/cuda/kernels/linear.h"

namespace strata::cuda {

/// Rows of one item of `prefill_experts`.
inline constexpr std::int64_t kPrefillItemRows = 128;

/// Whether there is a kernel for such a bank.
constexpr bool fits_prefill(const PackedBank& bank) { return bank.uniform && bank.first.format != Format::f32; }

/// One job of `linear`; its x is interleaved. `fast`: K is summed in one go.
void prefill_linear(const Launch& to, const LinearJob& job, std::int64_t rows, bool fast);
/// `expert_linear` of items of up to kPrefillItemRows pairs; x is interleaved.
void prefill_experts(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                     const LinearOutput& out, bool fast);

}  // namespace strata::cuda
