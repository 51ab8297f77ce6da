// Memory of the CPU backend's own, taken once for the largest step.
#pragma once

#include "backend/backend.h"

namespace strata {

/// Rows of activations that linear layers and experts take at a time: enough to use every decoded weight often.
inline constexpr std::int64_t kRowBlock = 512;

/// What attention keeps of one worker's block: keys, values and queries of at most kMaxHeadDim dimensions.
inline constexpr std::int64_t kMaxHeadDim = 512;
inline constexpr std::int64_t kQueryBlock = 64;

/// Where everything lies in one allocation. Rows of `hidden` and `y` are `width_*` floats apart, rows of activations
/// `x_bytes` and `hidden_x_bytes`.
struct Scratch {
  WorkLimits limits;
  std::int64_t bytes = 0;
  std::int64_t rows = 0, pairs = 0;  // of activations; of (token, expert)
  std::int64_t width_x = 0, width_hidden = 0;
  std::int64_t x_bytes = 0, hidden_x_bytes = 0;

  std::byte* x = nullptr;              // [rows, width_x] activations, see KernelTable::round_activations
  float* hidden = nullptr;             // [pairs, width_hidden]
  std::byte* hidden_x = nullptr;       // [pairs, width_hidden] activations
  float* y = nullptr;                  // [pairs, width_x]
  const void** x_rows = nullptr;       // [max(rows, pairs)]
  float** out_rows = nullptr;          // [max(rows, pairs)]
  float** hidden_rows = nullptr;       // [pairs]
  void** hidden_x_rows = nullptr;      // [pairs]
  std::int32_t* first_pair = nullptr;  // [experts + 1]: where an expert's pairs begin
  std::int32_t* active = nullptr;      // [experts]: those with pairs
  std::int32_t* cursor = nullptr;      // [experts]
  TokenId* last_tokens = nullptr;      // [slots]: what was sampled last
  float* workers = nullptr;            // [threads, worker_floats]
  std::int64_t worker_floats = 0;

  float* worker(int i) const { return workers + i * worker_floats; }
};

/// Lays out scratch for steps within `limits` from `base` on; with nullptr, to learn `bytes`. `activation_bytes` is the
/// kernels'.
Scratch lay_out_scratch(const WorkLimits& limits, int threads, std::int64_t activation_bytes, std::byte* base);

}  // namespace strata
