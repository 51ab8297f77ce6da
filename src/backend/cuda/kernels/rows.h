// Ops that work row by row or value by value, and those that pick rows.
#pragma once

#include "backend/cuda/kernels/device_batch.h"
#include "backend/cuda/kernels/launch.h"
#include "backend/cuda/kernels/packed.h"

namespace strata::cuda {

/// f32 rows in the GPU's memory, `stride` elements apart.
struct Rows {
  float* data = nullptr;
  std::int64_t stride = 0;
};
struct ConstRows {
  const float* data = nullptr;
  std::int64_t stride = 0;
  ConstRows() = default;
  ConstRows(const float* d, std::int64_t s) : data(d), stride(s) {}
  ConstRows(const Rows& r) : data(r.data), stride(r.stride) {}
};
/// Where a result goes rounded to bf16 as well, padded with zeros to `stride` columns; null: nowhere.
struct RoundedRows {
  std::uint16_t* data = nullptr;
  std::int64_t stride = 0;
  bool interleaved = false;  // each tile's columns as packed.h says
  /// Where column c lies in its row.
  constexpr std::int64_t place(std::int64_t c) const {
    return interleaved ? c / kTileCols * kTileCols + cuda::interleaved(static_cast<int>(c % kTileCols)) : c;
  }
};

/// A token's experts to be summed where the sum is added: out = sum over j of weights[j] y[row chosen + j], + shared.
struct Mixture {
  const float* y = nullptr;  // null: none
  std::int64_t y_stride = 0;
  ConstRows weights, shared;  // shared without data: none
  std::int32_t chosen = 0;
  Rows out;
};

/// x += added (if there is one; of `mixture`, what it makes), then out = x / sqrt(mean(x^2) + eps) * weight.
void add_rms_norm(const Launch& to, ConstRows added, const Mixture& mixture, Rows x, const float* weight, float eps,
                  std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded);
/// out = norm(y silu(z)), each of `groups` groups of columns by itself.
void gated_rms_norm(const Launch& to, ConstRows y, ConstRows z, const float* weight, std::int64_t groups, float eps,
                    std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded);
/// out += x.
void add(const Launch& to, ConstRows x, std::int64_t rows, std::int64_t cols, Rows out);
/// out = max(0, x)^2.
void relu_squared(const Launch& to, ConstRows x, std::int64_t rows, std::int64_t cols, Rows out);
/// Row i of out is row logit_rows[i] of x.
void gather_logit_rows(const Launch& to, DeviceBatch batch, ConstRows x, std::int64_t rows, std::int64_t cols,
                       Rows out);
/// Rows of `table`, one a token; a token of -1 is last_tokens[slot].
void embed(const Launch& to, DeviceBatch batch, const PackedBank& table, const std::int32_t* last_tokens,
           std::int64_t rows, Rows out);

}  // namespace strata::cuda
