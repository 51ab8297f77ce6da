// Products with packed weights, for one token or thousands, with the same bits for a row in either case.
#pragma once

#include "backend/cuda/kernels/launch.h"
#include "backend/cuda/kernels/packed.h"
#include "backend/cuda/kernels/rows.h"

namespace strata::cuda {

/// Inputs rounded to bf16: [rows, stride], columns past the matrix's up to a whole tile are 0.
struct Bf16Rows {
  const std::uint16_t* data = nullptr;
  std::int64_t stride = 0;
};

/// Rows of a batch grouped by expert: each item is up to `columns` (token, expert) pairs of one expert. A pair p is
/// token p / experts_per_token.
struct ExpertItems {
  const std::int32_t *expert = nullptr, *first = nullptr, *count = nullptr;  // an item's; first: into `pairs`
  const std::int32_t* pairs = nullptr;
  const std::int32_t* items = nullptr;  // how many there are
  std::int64_t most_items = 0;
  std::int64_t pairs_per_row = 1;  // row of x = pair / this
  bool single = false;             // of one token: item i is pair i, of expert[i]; the other arrays are not there
  bool known = false;              // made before the last kernel began
};

/// What becomes of a sum: out = scale * sum, or max(0, that)^2.
struct LinearOutput {
  float* out = nullptr;  // null: not wanted
  std::int64_t stride = 0;
  std::uint16_t* rounded = nullptr;  // the same as bf16, or null
  std::int64_t rounded_stride = 0;
  bool interleaved = false;  // `rounded`: as prefill_linear reads it
  bool relu_squared = false;
  float* sum = nullptr;  // what the result is added to as well, or null
  std::int64_t sum_stride = 0;
};

/// Most rows that the kernel for few rows takes.
inline constexpr std::int64_t kFewRows = 64;
/// Rows of an item of the two kernels.
inline constexpr std::int64_t kFewItemRows = 8, kManyItemRows = 64;

/// One product of `rows` rows with bank.matrices[0].
struct LinearJob {
  PackedBank bank;
  Bf16Rows x;
  LinearOutput out;
};

/// Products of the same rows with several matrices, in one launch if they are few rows of the same format.
void linear(const Launch& to, const LinearJob* jobs, int count, std::int64_t rows);

/// out row p = x row (p / pairs_per_row) times its expert's matrix, for every pair p of `items`.
void expert_linear(const Launch& to, const PackedBank& bank, Bf16Rows x, const ExpertItems& items, bool many,
                   const LinearOutput& out);

/// x rounded to bf16.
void round_rows(const Launch& to, const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t cols,
                const RoundedRows& out);

}  // namespace strata::cuda
