// Tokens grouped by expert, for prompts: what moe.h's `group_by_expert` makes, with a block an expert.
#pragma once

#include "backend/cuda/kernels/moe.h"

namespace strata::cuda {

void prefill_group_by_expert(const Launch& to, const std::int32_t* ids, std::int64_t ids_stride, std::int64_t rows,
                             std::int64_t chosen, std::int64_t experts, std::int64_t item_rows,
                             const GroupMemory& memory);

}  // namespace strata::cuda
