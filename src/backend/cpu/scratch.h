// Memory of the CPU backend's own, taken once for the largest step.
#pragma once

#include "backend/backend.h"

namespace strata {

/// Rows of activations that linear layers and experts take at a time: enough to use every decoded weight often.
inline constexpr std::int64_t kRowBlock = 256;

/// What attention keeps of one worker's block: keys, values and queries of at most kMaxHeadDim dimensions.
inline constexpr std::int64_t kMaxHeadDim = 512;
inline constexpr std::int64_t kQueryBlock = 64;

/// Where everything lies in one allocation. Rows of `x`, `hidden` and `y` are `width_*` floats apart.
struct Scratch {
  WorkLimits limits;
  std::int64_t bytes = 0;
  std::int64_t rows = 0, pairs = 0;  // of activations; of (token, expert)
  std::int64_t width_x = 0, width_hidden = 0;

  float* x = nullptr;                  // [rows, width_x], rounded to bf16
  float* hidden = nullptr;             // [pairs, width_hidden]
  float* y = nullptr;                  // [pairs, width_x]
  const float** x_rows = nullptr;      // [max(rows, pairs)]
  float** out_rows = nullptr;          // [max(rows, pairs)]
  float** hidden_rows = nullptr;       // [pairs]
  std::int32_t* first_pair = nullptr;  // [experts + 1]: where an expert's pairs begin
  std::int32_t* active = nullptr;      // [experts]: those with pairs
  std::int32_t* cursor = nullptr;      // [experts]
  TokenId* last_tokens = nullptr;      // [slots]: what was sampled last
  float* workers = nullptr;            // [threads, worker_floats]
  std::int64_t worker_floats = 0;

  float* worker(int i) const { return workers + i * worker_floats; }
};

/// Lays out scratch for steps within `limits` from `base` on; with nullptr, to learn `bytes`.
Scratch lay_out_scratch(const WorkLimits& limits, int threads, std::byte* base);

}  // namespace strata
