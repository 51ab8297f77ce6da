// The layout of scratch memory.
#include "backend/cpu/scratch.h"

#include <algorithm>

#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/packed_linear.h"

namespace strata {

Scratch lay_out_scratch(const WorkLimits& limits, int threads, std::int64_t activation_bytes, std::byte* base) {
  Scratch s;
  s.limits = limits;
  s.rows = std::clamp<std::int64_t>(std::max(limits.tokens, limits.logit_rows), 1, kRowBlock);
  s.pairs = limits.experts > 0 ? s.rows * limits.experts_per_token : 0;
  s.width_x = padded_features(limits.features);
  s.width_hidden = padded_features(limits.expert_features);
  // A cache line more than a row: rows a power of two apart would share few sets of a cache.
  const auto row_bytes = [&](std::int64_t width) { return (width * activation_bytes + 63) / 64 * 64 + 64; };
  s.x_bytes = row_bytes(s.width_x);
  s.hidden_x_bytes = row_bytes(s.width_hidden);
  s.worker_floats = std::max(kMaxHeadDim * (kKeyBlock + kQueryBlock), 2 * limits.experts);
  const auto take = [&]<class T>(T*& pointer, std::int64_t count) {
    if (base) pointer = reinterpret_cast<T*>(base + s.bytes);
    s.bytes += (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
  };
  take(s.x, s.rows * s.x_bytes);
  take(s.hidden, s.pairs * s.width_hidden);
  take(s.hidden_x, s.pairs * s.hidden_x_bytes);
  take(s.y, s.pairs * s.width_x);
  take(s.x_rows, std::max(s.rows, s.pairs));
  take(s.out_rows, std::max(s.rows, s.pairs));
  take(s.hidden_rows, s.pairs);
  take(s.hidden_x_rows, s.pairs);
  take(s.first_pair, limits.experts + 1);
  take(s.active, limits.experts);
  take(s.cursor, limits.experts);
  take(s.last_tokens, limits.slots);
  s.worker_floats = (s.worker_floats + 63) / 64 * 64;
  take(s.workers, threads * s.worker_floats);
  return s;
}

}  // namespace strata
