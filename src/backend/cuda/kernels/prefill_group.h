// Tokens grouped by expert, for prompts: what moe.h's `group_by_expert` makes, with a block an expert.
#pragma once

#include "backend/cuda/kernels/moe.h"

namespace strata::cuda {

/// An expert's items are alike, of a multiple of 16 rows, but for the last one.
void prefill_group_by_expert(const Launch& to, const std::int32_t* ids, std::int64_t ids_stride, std::int64_t rows,
                             std::int64_t chosen, std::int64_t experts, std::int64_t item_rows,
                             const GroupMemory& memory);
/// Row i of out, [count, x.stride], is x row (pairs[i] / chosen).
void prefill_gather(const Launch& to, Bf16Rows x, const std::int32_t* pairs, std::int64_t count, std::int64_t chosen,
                    std::uint16_t* out);

}  // namespace strata::cuda
