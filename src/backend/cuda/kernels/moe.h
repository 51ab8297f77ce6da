// A mixture of experts: the router's product and choice, tokens grouped by expert, and a token's experts summed.
#pragma once

#include "backend/cuda/kernels/linear.h"
#include "backend/cuda/kernels/rows.h"

namespace strata::cuda {

/// out = x w^T in float32; w: [features, cols].
void linear_f32(const Launch& to, ConstRows x, const float* w, std::int64_t rows, std::int64_t cols,
                std::int64_t features, Rows out);

struct RouterShape {
  std::int64_t experts = 0, chosen = 0;  // `chosen`: of each token
  std::int64_t groups = 1, chosen_groups = 1;
  bool normalize = true;
  float scaling = 1;
};
inline constexpr std::int64_t kMostExperts = 1024, kMostChosen = 64;

/// ids and weights: [rows, chosen], ascending ids.
void route(const Launch& to, ConstRows logits, const float* bias, const RouterShape& shape, std::int64_t rows,
           std::int32_t* ids, std::int64_t ids_stride, Rows weights);

/// Memory of the groups, all i32: offsets [experts + 1], pairs and items.
struct GroupMemory {
  std::int32_t *pairs, *item_expert, *item_first, *item_count, *items;
};
/// Groups the pairs (token, choice) by expert, in order of token; items of up to `item_rows` pairs.
void group_by_expert(const Launch& to, const std::int32_t* ids, std::int64_t ids_stride, std::int64_t rows,
                     std::int64_t chosen, std::int64_t experts, std::int64_t item_rows, const GroupMemory& memory);

/// out row t = sum over j of weights[t][j] * y[t chosen + j].
void combine_experts(const Launch& to, const float* y, std::int64_t y_stride, ConstRows weights, std::int64_t rows,
                     std::int64_t chosen, std::int64_t cols, Rows out);

}  // namespace strata::cuda
