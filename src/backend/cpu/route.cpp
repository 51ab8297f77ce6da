// The router: which experts a token goes to, and with which weights.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"

namespace strata {
namespace {

// The index of the largest of values[begin, end), the first among equals, of those that `free` lets in; -1 if none.
template <class Free>
std::int64_t largest(const float* values, std::int64_t begin, std::int64_t end, Free&& free) {
  std::int64_t best = -1;
  for (std::int64_t i = begin; i < end; ++i)
    if (free(i) && (best < 0 || values[i] > values[best])) best = i;
  return best;
}

// Marks the experts outside the chosen groups as taken: a group counts by the sum of its two best.
void drop_groups(const float* biased, std::int64_t experts, const RouterParameters& p, float* taken) {
  const std::int64_t width = experts / p.groups;
  std::fill_n(taken, experts, 1.0f);
  const auto score = [&](std::int64_t g) {
    const std::int64_t begin = g * width, end = begin + width;
    const std::int64_t first = largest(biased, begin, end, [](std::int64_t) { return true; });
    const std::int64_t second = largest(biased, begin, end, [&](std::int64_t i) { return i != first; });
    return biased[first] + (second < 0 ? 0.0f : biased[second]);
  };
  for (std::int64_t chosen = 0; chosen < p.chosen_groups; ++chosen) {
    std::int64_t best = -1;
    float best_score = 0;
    for (std::int64_t g = 0; g < p.groups; ++g) {
      if (taken[g * width] == 0) continue;
      const float s = score(g);
      if (best < 0 || s > best_score) best = g, best_score = s;
    }
    std::fill_n(taken + best * width, width, 0.0f);
  }
}

}  // namespace

void CpuBackend::route(ConstMatrix logits, const Vector& bias, const RouterParameters& p, Routing out) {
  const Scratch& s = scratch();
  const std::int64_t experts = logits.cols, k = out.ids.cols;
  CHECK(out.ids.rows == logits.rows && out.weights.rows == logits.rows && out.weights.cols == k &&
            bias.size == experts && p.groups >= 1 && experts % p.groups == 0 && p.chosen_groups >= 1 &&
            p.chosen_groups <= p.groups && k <= experts / p.groups * p.chosen_groups,
        "route: shape");
  CHECK(experts <= s.limits.experts, "more experts than reserve() was told");
  const auto* biases = reinterpret_cast<const float*>(bias.data.get());
  pool_.run(logits.rows, [&](std::int64_t row, int worker) {
    const float* logit = logits.row<float>(row);
    float *biased = s.worker(worker), *taken = biased + experts;
    const auto score = [&](std::int64_t e) { return 1 / (1 + std::exp(-logit[e])); };
    for (std::int64_t e = 0; e < experts; ++e) biased[e] = score(e) + biases[e];
    std::fill_n(taken, experts, 0.0f);
    if (p.chosen_groups < p.groups) drop_groups(biased, experts, p, taken);
    std::int32_t* ids = out.ids.row<std::int32_t>(row);
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t best = largest(biased, 0, experts, [&](std::int64_t e) { return taken[e] == 0; });
      taken[best] = 1;
      ids[i] = static_cast<std::int32_t>(best);
    }
    std::sort(ids, ids + k);
    float* weights = out.weights.row<float>(row);
    float total = 0;
    for (std::int64_t i = 0; i < k; ++i) total += weights[i] = score(ids[i]);
    for (std::int64_t i = 0; i < k; ++i)
      weights[i] = (p.normalize ? weights[i] / (total + 1e-20f) : weights[i]) * p.scaling;
  });
}

}  // namespace strata
