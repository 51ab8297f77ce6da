// The router: groups, ties, weights.
#include <limits>

#include "backend/conformance/conformance_support.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(RouteConformance);

struct Chosen {
  Array<std::int32_t> ids;
  Floats weights;
};

Chosen route(Backend& backend, const Floats& logits, const Floats& bias, const RouterParameters& p, std::int64_t k) {
  const Placed in = place(backend, logits), ids = place_output<std::int32_t>(backend, logits.rows, k),
               weights = place_output(backend, logits.rows, k);
  const Vector biases = vector_on(backend, bias);
  backend.route(in, biases, p, {ids, weights});
  return {fetch<std::int32_t>(backend, ids), fetch(backend, weights)};
}

TEST_P(RouteConformance, ChoosesAndWeighsAsTheReference) {
  struct Case {
    std::int64_t experts, k, groups, chosen_groups;
  };
  for (const Case& c : {Case{1, 1, 1, 1},
                        {7, 1, 1, 1},
                        {8, 3, 1, 1},
                        {17, 5, 1, 1},
                        {32, 5, 1, 1},
                        {16, 5, 4, 2},
                        {16, 4, 4, 4},
                        {12, 3, 3, 1},
                        {8, 2, 8, 2},
                        {8, 5, 8, 5},
                        {32, 1, 2, 1},
                        {128, 6, 1, 1},
                        {512, 22, 1, 1},
                        {512, 22, 8, 4}})
    for (const bool normalize : {true, false})
      for (const double bias_scale : {0.0, 1.0}) {
        SCOPED_TRACE(std::to_string(c.k) + " of " + std::to_string(c.experts) + ", " + std::to_string(c.groups));
        const Floats logits = random(17, c.experts, 1, 2), bias = random(1, c.experts, 2, bias_scale);
        const RouterParameters p{c.groups, c.chosen_groups, normalize, 2.5f};
        const Chosen found = route(backend(), logits, bias, p, c.k), expected = route(reference, logits, bias, p, c.k);
        expect_same_bits(found.ids, expected.ids);
        expect_close(found.weights, expected.weights, [&](auto r, auto i) {
          return (double(c.k) + 16) * kRounding * double(expected.weights.at(r, i));
        });
      }
}

TEST_P(RouteConformance, TiesGoToTheLowestId) {
  const Floats logits(3, 17, 0.5f), bias(1, 17, 0.25f);
  const Chosen found = route(backend(), logits, bias, {}, 5);
  for (std::int64_t r = 0; r < 3; ++r)
    for (std::int64_t i = 0; i < 5; ++i) {
      EXPECT_EQ(found.ids.at(r, i), i);
      EXPECT_NEAR(found.weights.at(r, i), 0.2f, 1e-6);
    }
  Floats two(1, 17, -1.0f);
  two.at(0, 16) = two.at(0, 9) = two.at(0, 11) = 2;
  EXPECT_EQ(route(backend(), two, bias, {}, 2).ids.values, (std::vector<std::int32_t>{9, 11}));
}

TEST_P(RouteConformance, TiesBetweenGroupsGoToTheFirstGroup) {
  const Floats logits(1, 16, 1.0f), bias(1, 16);
  EXPECT_EQ(route(backend(), logits, bias, {4, 2, true, 1}, 4).ids.values, (std::vector<std::int32_t>{0, 1, 2, 3}));
  Floats last = logits;
  last.at(0, 14) = last.at(0, 15) = 2;
  EXPECT_EQ(route(backend(), last, bias, {4, 2, true, 1}, 5).ids.values, (std::vector<std::int32_t>{0, 1, 2, 14, 15}));
}

TEST_P(RouteConformance, TheBiasChoosesAndDoesNotWeigh) {
  Floats logits(1, 8, 0.0f), bias(1, 8);
  logits.at(0, 2) = 1, bias.at(0, 6) = 100, bias.at(0, 2) = 50, bias.at(0, 0) = -100;
  const Chosen found = route(backend(), logits, bias, {1, 1, false, 3}, 2);
  EXPECT_EQ(found.ids.values, (std::vector<std::int32_t>{2, 6}));
  EXPECT_NEAR(found.weights.at(0, 0), 3 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(found.weights.at(0, 1), 1.5, 1e-6);
}

TEST_P(RouteConformance, NegativeScoresLeaveNoGroupOutsideTheChosenOnes) {
  const Floats logits = random(17, 16, 3);
  Floats bias(1, 16, -5.0f);
  for (std::int64_t e = 0; e < 16; ++e) bias.at(0, e) -= float(e % 5) * 0.01f;
  const RouterParameters p{4, 2, true, 1};
  const Chosen found = route(backend(), logits, bias, p, 5);
  expect_same_bits(found.ids, route(reference, logits, bias, p, 5).ids);
}

TEST_P(RouteConformance, ANanGivesDistinctExpertsInOrder) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  Floats logits = random(5, 16, 4);
  for (std::int64_t e = 0; e < 16; ++e) logits.at(0, e) = nan, logits.at(2, e) = -infinity, logits.at(3, e) = infinity;
  logits.at(1, 3) = logits.at(1, 4) = nan;
  logits.at(4, 0) = nan;
  for (const RouterParameters& p : {RouterParameters{1, 1, true, 1}, {4, 2, true, 1}, {16, 5, false, 1}}) {
    const Chosen found = route(backend(), logits, Floats(1, 16), p, 5);
    for (std::int64_t r = 0; r < logits.rows; ++r)
      for (std::int64_t i = 0; i < 5; ++i) {
        EXPECT_GE(found.ids.at(r, i), i ? found.ids.at(r, i - 1) + 1 : 0);
        EXPECT_LT(found.ids.at(r, i), 16);
      }
  }
}

TEST_P(RouteConformance, ARowStandsAlone) {
  const Floats logits = random(17, 32, 5), bias = random(1, 32, 6);
  const RouterParameters p{4, 2, true, 2.5f};
  expect_rows_stand_alone(GetParam(), logits.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
    return route(be, logits.slice(first, count), bias, p, 5).weights;
  });
  expect_rows_stand_alone(GetParam(), logits.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
    return route(be, logits.slice(first, count), bias, p, 5).ids;
  });
}

}  // namespace
}  // namespace strata::conformance
