// Products for thousands of tokens on Hopper, with the bits of linear.h: the same slices of K in the same order.
#pragma once

#include "backend/cuda/kernels/linear.h"

namespace strata::cuda {

/// Most rows of one item of `prefill_experts`: where K is summed in slices, their totals take the registers of others.
inline constexpr std::int64_t kPrefillExactRows = 160, kPrefillFastRows = 256;
constexpr std::int64_t prefill_item_rows(bool fast) { return fast ? kPrefillFastRows : kPrefillExactRows; }

/// Whether there is a kernel for such a bank.
constexpr bool fits_prefill(const PackedBank& bank) { return bank.uniform && bank.first.format != Format::f32; }

/// One job of `linear`; its x is interleaved. `fast`: K is summed in one go.
void prefill_linear(const Launch& to, const LinearJob& job, std::int64_t rows, bool fast);
/// Products of pairs grouped by expert. x is interleaved and has a row a pair, [pairs, stride], in the order of the
/// groups; so has the result, unless items.pairs are there: then the pair's own row is where it goes.
void prefill_experts(const Launch& to, const PackedBank& bank, Bf16Rows x, std::int64_t pairs, const ExpertItems& items,
                     const LinearOutput& out, bool fast);

/// Most rows of one item of `prefill_few_experts`.
inline constexpr std::int64_t kPrefillFewRows = 128;
/// Whether experts have so few pairs each that this is faster; with K in one go only.
constexpr bool are_few(std::int64_t pairs, std::int64_t experts) { return pairs < experts * 160; }
/// Products of pairs grouped by expert, of `fast` numerics. A pair's row of x is the one of its token, its row of the
/// result its own.
void prefill_few_experts(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                         const LinearOutput& out);

/// Tokens of a piece with which `rows` rows keep all clusters equally busy; of those that dense kernels are made for.
int prefill_tokens(std::int64_t rows, std::int64_t feature_pieces, std::int64_t clusters, bool fast);

}  // namespace strata::cuda
