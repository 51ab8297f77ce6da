// Mixture of experts: the routed experts of a block of tokens, expert by expert.
#include <algorithm>

#include "backend/cpu/cpu_backend.h"

namespace strata {

std::int64_t CpuBackend::sort_pairs(const Routing& routing, std::int64_t first, std::int64_t count,
                                    std::int64_t experts, std::int64_t in_features, std::int64_t inner_features) {
  const Scratch& s = scratch();
  const std::int64_t k = routing.ids.cols;
  std::fill_n(s.first_pair, experts + 1, 0);
  for (std::int64_t t = 0; t < count; ++t)
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int32_t expert = routing.ids.row<std::int32_t>(first + t)[i];
      CHECK(0 <= expert && expert < experts, "an expert that the layer has not");
      ++s.first_pair[expert + 1];
    }
  std::int64_t active = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    if (s.first_pair[e + 1] > 0) s.active[active++] = static_cast<std::int32_t>(e);
    s.first_pair[e + 1] += s.first_pair[e];
    s.cursor[e] = s.first_pair[e];
  }
  const std::int64_t inner_width = padded_features(inner_features);
  CHECK(padded_features(in_features) <= s.width_x && inner_width <= s.width_hidden,
        "more features than reserve() was told");
  for (std::int64_t t = 0; t < count; ++t)
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t pair = t * k + i, at = s.cursor[routing.ids.row<std::int32_t>(first + t)[i]]++;
      s.x_rows[at] = s.x + t * s.x_bytes;
      s.hidden_rows[at] = s.hidden + pair * s.width_hidden;
      std::byte* hidden_x = s.hidden_x + pair * s.hidden_x_bytes;
      s.hidden_x_rows[at] = hidden_x;
      s.out_rows[at] = s.y + pair * s.width_x;
      std::fill(hidden_x + inner_features * kernels_.activation_bytes,
                hidden_x + inner_width * kernels_.activation_bytes, std::byte{0});
    }
  return active;
}

void CpuBackend::multiply_experts(const PackedLinear& w, std::int64_t active, const void* const* x, float* const* out,
                                  bool then_relu_squared) {
  const Scratch& s = scratch();
  const std::int64_t tiles = w.tiles();
  const std::int64_t step = std::clamp<std::int64_t>(active * tiles / (pool_.size() * 8) / 2 * 2, 2, 16);
  const std::int64_t steps = (tiles + step - 1) / step;
  const std::int64_t item_bytes = step * w.weights[0].tile_bytes;
  pool_.run(
      active * steps,
      [&](std::int64_t item, int) {
        const std::int64_t expert = s.active[item / steps], tile = item % steps * step;
        const std::int64_t begin = s.first_pair[expert], count = s.first_pair[expert + 1] - begin;
        const TileRange range = w.range(expert, tile, std::min(step, tiles - tile));
        const auto format = static_cast<int>(w.weights[static_cast<std::size_t>(expert)].format);
        kernels_.matmul[format](range, {x + begin, out + begin, count});
        if (!then_relu_squared) return;
        const std::int64_t column = tile * kTileRows, columns = std::min(step * kTileRows, w.out_features - column);
        for (std::int64_t r = begin; r < begin + count; ++r)
          kernels_.relu_squared_activations(
              out[r] + column, columns,
              static_cast<std::byte*>(s.hidden_x_rows[r]) + column * kernels_.activation_bytes);
      },
      items_alone(item_bytes));
}

void CpuBackend::experts(ConstMatrix x, const Routing& routing, const Linear& up_weight, const Linear& down_weight,
                         Matrix out) {
  const PackedLinear &up = packed(up_weight), &down = packed(down_weight);
  const Scratch& s = scratch();
  const std::int64_t k = routing.ids.cols;
  CHECK(up.experts == down.experts && x.cols == up.in_features && up.out_features == down.in_features &&
            out.cols == down.out_features && out.rows == x.rows && routing.ids.rows == x.rows &&
            routing.weights.rows == x.rows && routing.weights.cols == k,
        "experts: shape");
  CHECK(up.experts <= s.limits.experts && k <= s.limits.experts_per_token && out.cols <= s.width_x,
        "more experts or features than reserve() was told");
  for (std::int64_t first = 0; first < x.rows; first += s.rows) {
    const std::int64_t count = std::min(s.rows, x.rows - first);
    round_rows(x, first, count);
    const std::int64_t active = sort_pairs(routing, first, count, up.experts, x.cols, up.out_features);
    multiply_experts(up, active, s.x_rows, s.hidden_rows, true);
    multiply_experts(down, active, s.hidden_x_rows, s.out_rows, false);
    // In the order of a token's experts now, not of all experts.
    for (std::int64_t pair = 0; pair < count * k; ++pair) s.hidden_rows[pair] = s.y + pair * s.width_x;
    pool_.run(
        count,
        [&](std::int64_t t, int) {
          kernels_.weighted_sum(s.hidden_rows + t * k, routing.weights.row<float>(first + t), k, out.cols,
                                out.row<float>(first + t));
        },
        items_alone(4 * k * out.cols));
  }
}

}  // namespace strata
