// Products of few rows, alone and beside what goes with them in a mixture of experts.
#pragma once

#include "backend/cuda/kernels/linear.h"
#include "backend/cuda/kernels/moe.h"

namespace strata::cuda {

/// A norm of one row, which every block of a kernel makes for itself: as add_rms_norm makes it.
struct NormJob {
  const float* x = nullptr;  // null: none
  const float* weight = nullptr;
  float eps = 0;
  std::int64_t cols = 0;
  float* out = nullptr;
  RoundedRows rounded;
};
/// Longest row of a NormJob.
inline constexpr std::int64_t kMostNormCols = 4096;

/// Jobs of one format, up to kFewRows rows.
void linear_few(const Launch& to, const LinearJob* jobs, int count, std::int64_t rows);
/// Jobs of one format for the one row that `norm` makes.
void linear_normed(const Launch& to, const LinearJob* jobs, int count, const NormJob& norm);
/// Whether such jobs are few enough blocks for each to make the norm.
bool fits_normed(const Launch& to, const LinearJob* jobs, int count);

/// The router's product and choice for up to kFewItemRows tokens, as linear_f32, route and group_by_expert make them.
struct RouterJob {
  ConstRows x;
  const float* w = nullptr;  // [shape.experts, cols]
  std::int64_t cols = 0;
  Rows logits;
  const float* bias = nullptr;
  RouterShape shape;
  std::int32_t* ids = nullptr;
  std::int64_t ids_stride = 0;
  Rows weights;
  GroupMemory groups;           // used from two tokens on
  unsigned* arrived = nullptr;  // 0, and left so
};
/// Whether `linear_with_router` takes it.
bool fits_beside_linear(const RouterJob& router, std::int64_t rows);
/// A product and a router of the same tokens in one launch; with `norm`, of the one token that it makes.
void linear_with_router(const Launch& to, const LinearJob& job, std::int64_t rows, const RouterJob& router,
                        const NormJob& norm);

/// expert_linear for few tokens.
void expert_linear_few(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                       const LinearOutput& out);
/// The same beside a product of up to kFewItemRows rows with a matrix of the same format and as many rows.
void expert_linear_beside(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items,
                          const LinearOutput& out, const LinearJob& beside, std::int64_t rows);
bool fits_beside_experts(const PackedBank& bank, const PackedBank& beside, std::int64_t rows);

}  // namespace strata::cuda
