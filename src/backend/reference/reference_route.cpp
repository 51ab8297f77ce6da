// The router of the reference backend.
#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "backend/reference/reference_backend.h"
#include "backend/reference/reference_math.h"

namespace strata {
namespace {

/// Puts -inf for the experts outside the `chosen` groups of `width` whose two best sum highest.
void keep_best_groups(std::vector<double>& biased, std::int64_t width, std::int64_t chosen) {
  struct Group {
    double score;
    std::ptrdiff_t first;
  };
  std::vector<Group> groups;
  for (std::ptrdiff_t first = 0; first < std::ssize(biased); first += width) {
    std::vector<double> in(biased.begin() + first, biased.begin() + first + width);
    std::partial_sort(in.begin(), in.begin() + std::min<std::ptrdiff_t>(2, width), in.end(), std::greater<>());
    groups.push_back({in[0] + (width > 1 ? in[1] : 0), first});
  }
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) { return a.score > b.score; });
  for (std::size_t i = static_cast<std::size_t>(chosen); i < groups.size(); ++i) {
    std::fill_n(biased.begin() + groups[i].first, width, -std::numeric_limits<double>::infinity());
  }
}

}  // namespace

void ReferenceBackend::route(ConstMatrix logits, const Vector& bias, const RouterParameters& p, Routing out) {
  const std::int64_t n = logits.cols, k = out.ids.cols;
  std::vector<double> score(static_cast<std::size_t>(n)), biased(score);
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  for (std::int64_t r = 0; r < logits.rows; ++r) {
    for (std::size_t e = 0; e < score.size(); ++e) {
      score[e] = 1 / (1 + std::exp(-double{logits.row<float>(r)[e]}));
      biased[e] = score[e] + reference::f32(bias)[e];
      if (std::isnan(biased[e])) biased[e] = -std::numeric_limits<double>::infinity();  // chosen last
      order[e] = static_cast<std::int32_t>(e);
    }
    if (p.groups > 1) keep_best_groups(biased, n / p.groups, p.chosen_groups);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return biased[static_cast<std::size_t>(a)] > biased[static_cast<std::size_t>(b)];
    });
    std::sort(order.begin(), order.begin() + k);
    double total = 1e-20;
    for (std::int64_t j = 0; j < k; ++j) total += score[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int32_t expert = order[static_cast<std::size_t>(j)];
      out.ids.row<std::int32_t>(r)[j] = expert;
      out.weights.row<float>(r)[j] =
          static_cast<float>(score[static_cast<std::size_t>(expert)] / (p.normalize ? total : 1) * p.scaling);
    }
  }
}

}  // namespace strata
