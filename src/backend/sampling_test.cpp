// The choice of tokens against brute force, exact probabilities and published random numbers.
#include "backend/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>

#include "backend/logit_passes.h"
#include "backend/philox.h"
#include "base/error.h"

namespace strata {
namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();

TokenId choose(std::span<const float> logits, const SamplingParameters& p, std::uint64_t position = 0) {
  return sample_row(logits, {&p, position, {}, {}}, {}, {}).token;
}

/// Normal logits; if `step` > 0, rounded to its multiples, so that many are equal.
std::vector<float> random_logits(std::size_t vocab, unsigned seed, float deviation, float step = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(vocab);
  for (float& x : logits) x = step > 0 ? std::round(normal(generator) / step) * step : normal(generator);
  return logits;
}

struct Kept {
  std::vector<std::pair<TokenId, double>> probabilities;  // by id, adding up to 1
  double margin = 1;                                      // how near a threshold was to deciding otherwise
};

/// What top-k, top-p and min-p leave, by sorting everything, in double.
Kept brute_force(std::span<const float> logits, const SamplingParameters& p) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](TokenId t) { return static_cast<double>(logits[static_cast<std::size_t>(t)]); };
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return logit(a) > logit(b); });
  if (p.top_k > 0 && static_cast<std::size_t>(p.top_k) < order.size()) order.resize(static_cast<std::size_t>(p.top_k));
  const auto weight = [&](TokenId t) {
    return std::exp((logit(t) - logit(order[0])) / static_cast<double>(p.temperature));
  };
  Kept kept;
  double total = 0, sum = 0;
  for (TokenId t : order) total += weight(t);
  for (std::size_t i = 0; i < order.size() && sum < static_cast<double>(p.top_p) * total; ++i) {
    sum += weight(order[i]);
    kept.margin = std::min(kept.margin, std::abs(sum / total - static_cast<double>(p.top_p)));
    if (weight(order[i]) >= static_cast<double>(p.min_p)) kept.probabilities.emplace_back(order[i], weight(order[i]));
    kept.margin = std::min(kept.margin, std::abs(weight(order[i]) - static_cast<double>(p.min_p)));
  }
  std::sort(kept.probabilities.begin(), kept.probabilities.end());
  double all = 0;
  for (const auto& [t, w] : kept.probabilities) all += w;
  for (auto& [t, w] : kept.probabilities) w /= all;
  return kept;
}

/// Chi-square of `draws` draws at positions 0, 1, ...; a token that isn't kept fails.
double chi_square(std::span<const float> logits, const SamplingParameters& p, int draws) {
  const Kept kept = brute_force(logits, p);
  std::vector<double> count(logits.size());
  for (int i = 0; i < draws; ++i) ++count[static_cast<std::size_t>(choose(logits, p, static_cast<std::uint64_t>(i)))];
  double chi = 0, seen = 0;
  for (const auto& [t, probability] : kept.probabilities) {
    const double expected = probability * draws, difference = count[static_cast<std::size_t>(t)] - expected;
    chi += difference * difference / expected;
    seen += count[static_cast<std::size_t>(t)];
  }
  EXPECT_EQ(seen, draws) << "a token was drawn that the filters drop";
  return chi;
}

TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32_10({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, IsBelowOneAndEven) {
  std::array<int, 16> bins{};
  for (std::uint64_t i = 0; i < 16000; ++i) {
    const float u = uniform(7, i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++bins[static_cast<std::size_t>(u * 16)];
  }
  for (int n : bins) EXPECT_NEAR(n, 1000, 130);  // four standard deviations
  EXPECT_NE(uniform(1, 0), uniform(2, 0));
  EXPECT_NE(uniform(1, 0), uniform(std::uint64_t{1} << 32 | 1, 0));
  EXPECT_NE(uniform(1, 0), uniform(1, std::uint64_t{1} << 32));
}

TEST(LogitPasses, ExponentialIsAccurate) {
  double worst = 0;
  for (float x = -86.9f; x <= 0; x += 0.00731f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(exp_negative(x)) - exact) / exact);
  }
  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(exp_negative(0), 1);
  EXPECT_EQ(exp_negative(-88), 0);
  EXPECT_EQ(exp_negative(-kInfinity), 0);
  EXPECT_EQ(exp_negative(kNaN), 0);
}

TEST(LogitPasses, EveryVectorWidthAddsSixteenLanesInOneOrder) {
  std::vector<float> logits = random_logits(3 * kLogitBlock + 37, 3, 5);
  logits[5] = kNaN;
  logits[300] = -kInfinity;
  std::vector<double> masses(logit_blocks(logits.size()));
  block_masses(logits, 20, 0.7f, masses);
  for (std::size_t b = 0; b < masses.size(); ++b) {
    float lanes[16] = {};
    for (std::size_t i = b * kLogitBlock; i < std::min(logits.size(), (b + 1) * kLogitBlock); ++i) {
      lanes[i % 16] += exp_negative((logits[i] - 20) * 0.7f);
    }
    double sum = 0;
    for (float lane : lanes) sum += static_cast<double>(lane);
    EXPECT_EQ(masses[b], sum) << "block " << b;
  }
}

TEST(Greedy, TakesTheLowestIdAmongTheLargest) {
  for (std::size_t vocab : {1u, 7u, 256u, 257u, 1000u}) {
    std::vector<float> logits = random_logits(vocab, 1, 1);
    const std::size_t first = vocab / 2;
    logits[first] = logits[vocab - 1] = 50;
    EXPECT_EQ(choose(logits, {}), static_cast<TokenId>(first));
  }
}

TEST(Greedy, PassesOverNaNAndInfinities) {
  EXPECT_EQ(choose(std::vector<float>{kNaN, 1, 3, kNaN, 3}, {}), 2);
  EXPECT_EQ(choose(std::vector<float>{kNaN, -kInfinity, kNaN, -kInfinity}, {}), 1);
  EXPECT_EQ(choose(std::vector<float>{kNaN, kNaN}, {}), 0);
  EXPECT_EQ(choose(std::vector<float>{1, kInfinity, kInfinity}, {}), 1);
  std::vector<float> logits(600, kNaN);
  logits[555] = -kInfinity;
  EXPECT_EQ(choose(logits, {}), 555);
}

TEST(Sampling, NeverCrashesOnNaNAndInfinities) {
  SamplingParameters all{.temperature = 1, .logprobs = true, .top_logprobs = 3};
  SamplingParameters filtered = all;
  filtered.top_p = 0.5f;
  filtered.min_p = 0.1f;
  SamplingParameters few = filtered;
  few.top_k = 3;
  TokenId ids[kMaxTopLogprobs];
  float logprobs[kMaxTopLogprobs];
  for (const SamplingParameters& p : {all, filtered, few}) {
    EXPECT_EQ(sample_row(std::vector<float>{kNaN, kNaN}, {&p, 0, {}, {}}, ids, logprobs).token, 0);
    EXPECT_EQ(sample_row(std::vector<float>{-kInfinity, -kInfinity}, {&p, 0, {}, {}}, ids, logprobs).token, 0);
    EXPECT_EQ(sample_row(std::vector<float>{0, kInfinity, kInfinity}, {&p, 0, {}, {}}, ids, logprobs).token, 1);
    for (std::uint64_t i = 0; i < 50; ++i) {
      const SampledToken s =
          sample_row(std::vector<float>{kNaN, 1, -kInfinity, 0, kNaN}, {&p, i, {}, {}}, ids, logprobs);
      EXPECT_TRUE(s.token == 1 || s.token == 3);
      EXPECT_TRUE(std::isnan(s.logprob)) << "so that whoever asked knows";
    }
  }
}

TEST(Sampling, DrawsFollowTheDistribution) {
  const std::vector<float> logits = random_logits(40, 5, 1.5f);
  const std::vector<SamplingParameters> cases = {
      {.temperature = 1, .seed = 11},
      {.temperature = 0.7f, .seed = 12},
      {.temperature = 1, .top_k = 8, .seed = 13},
      {.temperature = 1, .top_p = 0.8f, .seed = 14},
      {.temperature = 1.3f, .min_p = 0.1f, .seed = 15},
      {.temperature = 1.3f, .top_k = 12, .top_p = 0.9f, .min_p = 0.05f, .seed = 16},
  };
  for (const SamplingParameters& p : cases) {
    const auto freedom = static_cast<double>(brute_force(logits, p).probabilities.size() - 1);
    EXPECT_LT(chi_square(logits, p, 20000), freedom + 4 * std::sqrt(2 * freedom)) << "seed " << p.seed;
  }
}

TEST(Sampling, DrawsFollowTheDistributionAcrossBlocks) {
  std::vector<float> logits(5 * kLogitBlock + 3, -kInfinity);
  for (std::size_t i = 0; i < logits.size(); i += 131) logits[i] = static_cast<float>(i % 5) / 2;
  const SamplingParameters p{.temperature = 1, .seed = 3};
  std::vector<double> count(logits.size());
  for (std::uint64_t i = 0; i < 20000; ++i) ++count[static_cast<std::size_t>(choose(logits, p, i))];
  double total = 0, chi = 0, kinds = -1;
  for (float x : logits) total += std::exp(static_cast<double>(x));
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double expected = 20000 * std::exp(static_cast<double>(logits[i])) / total;
    if (expected == 0) {
      EXPECT_EQ(count[i], 0);
      continue;
    }
    chi += (count[i] - expected) * (count[i] - expected) / expected;
    ++kinds;
  }
  EXPECT_LT(chi, kinds + 4 * std::sqrt(2 * kinds));
}

TEST(Filters, KeepWhatSortingEverythingKeeps) {
  int compared = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    const std::size_t vocab = seed % 3 == 0 ? 30 : 700;
    const std::vector<float> logits = random_logits(vocab, seed, 1 + static_cast<float>(seed % 4), seed % 2 ? 0.5f : 0);
    SamplingParameters p{.temperature = 0.5f + 0.5f * static_cast<float>(seed % 3)};
    if (seed % 5 != 0) p.top_k = 1 + static_cast<std::int32_t>(seed * 7 % 40);
    if (seed % 4 != 0) p.top_p = 0.3f + 0.13f * static_cast<float>(seed % 5);
    if (seed % 7 < 3) p.min_p = 0.02f * static_cast<float>(1 + seed % 7);
    const Kept kept = brute_force(logits, p);
    if (kept.margin < 1e-6) continue;  // float and double may differ there
    ++compared;
    std::set<TokenId> allowed, drawn;
    for (const auto& [t, probability] : kept.probabilities) allowed.insert(t);
    for (std::uint64_t i = 0; i < 400; ++i) drawn.insert(choose(logits, p, i));
    EXPECT_TRUE(std::includes(allowed.begin(), allowed.end(), drawn.begin(), drawn.end())) << "seed " << seed;
    if (allowed.size() < 10) {
      for (const auto& [t, probability] : kept.probabilities) {
        EXPECT_TRUE(probability < 0.05 || drawn.count(t)) << "seed " << seed << " token " << t;
      }
    }
  }
  EXPECT_GT(compared, 40);
}

TEST(Filters, CutTiesAtTheLowestIds) {
  const std::vector<float> logits(1000, 1);
  const SamplingParameters few{.temperature = 1, .top_k = 3}, nucleus{.temperature = 1, .top_p = 0.01f};
  std::set<TokenId> of_few, of_nucleus;
  for (std::uint64_t i = 0; i < 500; ++i) {
    of_few.insert(choose(logits, few, i));
    of_nucleus.insert(choose(logits, nucleus, i));
  }
  EXPECT_EQ(of_few, (std::set<TokenId>{0, 1, 2}));
  EXPECT_EQ(*of_nucleus.rbegin(), 9);
  EXPECT_EQ(of_nucleus.size(), 10u);
}

TEST(Filters, ATopKBeyondTheVocabularyAndATinyTemperatureAreFine) {
  const std::vector<float> logits = random_logits(300, 9, 2);
  for (float temperature : {1e-38f, 1e-45f, 1e-3f}) {
    EXPECT_EQ(choose(logits, {.temperature = temperature}), choose(logits, {}));
    EXPECT_EQ(choose(logits, {.temperature = temperature, .top_k = 5, .top_p = 0.9f}), choose(logits, {}));
    EXPECT_EQ(choose(logits, {.temperature = temperature, .min_p = 0.5f}), choose(logits, {}));
    EXPECT_EQ(choose(logits, {.temperature = temperature, .top_p = 0.5f}), choose(logits, {}));
  }
  EXPECT_EQ(choose(logits, {.temperature = 1, .top_k = 5000}, 4), choose(logits, {.temperature = 1}, 4));
  EXPECT_EQ(choose(logits, {.temperature = 1, .top_k = 299, .top_p = 1e-7f}, 4), choose(logits, {}));
}

TEST(Sampling, SeedAndPositionAloneDecideTheDraw) {
  const std::vector<float> logits = random_logits(5000, 2, 1), others = random_logits(9000, 3, 2);
  const SamplingParameters p{.temperature = 1, .top_p = 0.9f, .seed = 5};
  std::vector<TokenId> forward, backward;
  for (std::uint64_t i = 0; i < 30; ++i) forward.push_back(choose(logits, p, i));
  for (std::uint64_t i = 30; i-- > 0;) {
    choose(others, p, i);  // what was sampled in between must not matter
    backward.push_back(choose(logits, p, i));
  }
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  SamplingParameters q = p;
  q.seed = 6;
  std::vector<TokenId> with_other_seed;
  for (std::uint64_t i = 0; i < 30; ++i) with_other_seed.push_back(choose(logits, q, i));
  EXPECT_NE(forward, with_other_seed);
}

TEST(Penalties, FollowTheirFormulas) {
  const std::vector<TokenId> prompt = {0, 1, 1}, answer = {2, 3, 3, 1};
  const auto wins = [&](std::vector<float> logits, SamplingParameters p) {
    return sample_row(logits, {&p, 0, prompt, answer}, {}, {}).token;
  };
  // Repetition: once a token, over prompt and answer; positive logits are divided, negative ones multiplied.
  EXPECT_EQ(wins({4, 4, 4, 4, 2.1f}, {.repetition_penalty = 2}), 4);
  EXPECT_EQ(wins({4, 4, 4, 4, 1.9f}, {.repetition_penalty = 2}), 0);
  EXPECT_EQ(wins({-1, -1, -1, -1, -1.9f}, {.repetition_penalty = 2}), 4);
  EXPECT_EQ(wins({-1, -1, -1, -1, -2.1f}, {.repetition_penalty = 2}), 0);
  // Presence: once a token of the answer, whatever its count; the prompt's don't pay.
  EXPECT_EQ(wins({-9, 4, 4, 4, 3.1f}, {.presence_penalty = 1}), 4);
  EXPECT_EQ(wins({-9, 4, 4, 4, 2.9f}, {.presence_penalty = 1}), 1);
  EXPECT_EQ(wins({3.5f, 4, 4, 4, 3.1f}, {.presence_penalty = 1}), 0);
  // Frequency: as often as the answer has it.
  EXPECT_EQ(wins({-9, -9, -9, 4, 2.1f}, {.frequency_penalty = 1}), 4);
  EXPECT_EQ(wins({-9, -9, -9, 4, 1.9f}, {.frequency_penalty = 1}), 3);
  // Repetition before the others: 4 / 2 - 1 - 2 * 0.5 = 0.
  const SamplingParameters all{.repetition_penalty = 2, .presence_penalty = 1, .frequency_penalty = 0.5f};
  EXPECT_EQ(wins({-9, -9, -9, 4, 0.01f}, all), 4);
  EXPECT_EQ(wins({-9, -9, -9, 4, -0.01f}, all), 3);
  // Nothing of one call is left for the next.
  EXPECT_EQ(wins({-9, -9, -9, 4, 0.01f}, all), 4);
}

TEST(Bias, IsAddedBeforePenaltiesAndLeavesLogprobsAlone) {
  const std::vector<float> logits = {1, 2, 3};
  SamplingParameters p{.logprobs = true, .logit_bias = {{0, 5.0f}, {2, -kInfinity}}};
  const SampledToken s = sample_row(logits, {&p, 0, {}, {}}, {}, {});
  EXPECT_EQ(s.token, 0);
  EXPECT_NEAR(s.logprob, 1 - std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-6);
  // -1 + 2 is positive when the penalty comes, so that it is divided.
  const std::vector<TokenId> prompt = {0};
  SamplingParameters q{.repetition_penalty = 2, .logit_bias = {{0, 2.0f}}};
  EXPECT_EQ(sample_row(std::vector<float>{-1, 0.4f}, {&q, 0, prompt, {}}, {}, {}).token, 0);
  EXPECT_EQ(sample_row(std::vector<float>{-1, 0.6f}, {&q, 0, prompt, {}}, {}, {}).token, 1);
}

TEST(Logprobs, AreThoseOfTheModelLargestFirstLowerIdAmongEquals) {
  std::vector<float> logits = random_logits(3000, 4, 3);
  logits[17] = logits[2500] = 15;
  SamplingParameters p{.temperature = 1, .seed = 4, .top_logprobs = 5};
  TokenId ids[kMaxTopLogprobs];
  float logprobs[kMaxTopLogprobs];
  const SampledToken s = sample_row(logits, {&p, 9, {}, {}}, ids, logprobs);
  double total = 0;
  for (float x : logits) total += std::exp(static_cast<double>(x));
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  const auto exact = [&](TokenId t) {
    return static_cast<double>(logits[static_cast<std::size_t>(t)]) - std::log(total);
  };
  EXPECT_EQ(ids[0], 17);
  EXPECT_EQ(ids[1], 2500);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(ids[i], order[i]);
    EXPECT_NEAR(logprobs[i], exact(order[i]), 1e-5);
  }
  EXPECT_NEAR(s.logprob, exact(s.token), 1e-5);
}

TEST(Logprobs, ASmallVocabularyLeavesTheRestEmpty) {
  SamplingParameters p{.top_logprobs = 4};
  TokenId ids[4];
  float logprobs[4];
  sample_row(std::vector<float>{1, kNaN, 2}, {&p, 0, {}, {}}, ids, logprobs);
  EXPECT_EQ((std::vector<TokenId>(ids, ids + 4)), (std::vector<TokenId>{2, 0, -1, -1}));
  EXPECT_EQ(logprobs[3], -kInfinity);
}

/// A mask of `vocab` tokens that allows those.
std::vector<std::uint32_t> allowing(std::size_t vocab, const std::vector<TokenId>& allowed) {
  std::vector<std::uint32_t> mask((vocab + 31) / 32);
  for (TokenId t : allowed) mask[static_cast<std::size_t>(t / 32)] |= std::uint32_t{1} << t % 32;
  return mask;
}

TEST(Mask, IsAsIfTheOtherTokensHadNoLogit) {
  const std::size_t vocab = 700;
  const std::vector<TokenId> some = {3, 31, 32, 64, 255, 256, 300, 511, 512, 699};
  const std::vector<std::uint32_t> mask = allowing(vocab, some);
  const std::vector<TokenId> prompt = {3, 300}, answer = {699, 31};
  for (const SamplingParameters& p : std::vector<SamplingParameters>{
           {},
           {.temperature = 1, .seed = 3},
           {.temperature = 1, .top_k = 4},
           {.temperature = 1.5f, .top_k = 50},
           {.temperature = 0.8f, .top_p = 0.7f},
           {.temperature = 1, .min_p = 0.2f},
           {.temperature = 1, .repetition_penalty = 1.4f, .logit_bias = {{32, 2.0f}, {5, kInfinity}}}}) {
    for (std::uint64_t position = 0; position < 40; ++position) {
      const std::vector<float> logits = random_logits(vocab, static_cast<unsigned>(position), 3);
      std::vector<float> masked(vocab, -kInfinity);
      for (TokenId t : some) masked[static_cast<std::size_t>(t)] = logits[static_cast<std::size_t>(t)];
      SamplingParameters without = p;
      std::erase_if(without.logit_bias, [](const auto& bias) { return bias.first == 5; });
      const TokenId right = sample_row(masked, {&without, position, prompt, answer}, {}, {}).token;
      EXPECT_EQ(sample_row(logits, {&p, position, prompt, answer, mask}, {}, {}).token, right);
    }
  }
}

TEST(Mask, LeavesLogprobsAlone) {
  const std::vector<float> logits = random_logits(300, 8, 3);
  const std::vector<std::uint32_t> mask = allowing(300, {17});
  SamplingParameters p{.temperature = 1, .top_logprobs = 4}, biased = p;
  biased.logit_bias = {{17, 1e9f}};
  TokenId ids[2][4];
  float logprobs[2][4];
  const SampledToken masked = sample_row(logits, {&p, 0, {}, {}, mask}, ids[0], logprobs[0]);
  const SampledToken free = sample_row(logits, {&biased, 0}, ids[1], logprobs[1]);
  EXPECT_EQ(masked.token, 17);
  EXPECT_EQ(free.token, 17);
  EXPECT_EQ(masked.logprob, free.logprob);
  EXPECT_TRUE(std::equal(ids[0], ids[0] + 4, ids[1]) && std::equal(logprobs[0], logprobs[0] + 4, logprobs[1]));
}

TEST(Mask, ForbidsEvenWhereNothingAllowedIsANumber) {
  const std::vector<std::uint32_t> mask = allowing(40, {9, 33, 35});
  std::vector<float> logits(40, 1);
  const SamplingParameters p{.temperature = 1, .logit_bias = {{9, -kInfinity}, {33, -kInfinity}, {35, -kInfinity}}};
  EXPECT_EQ(sample_row(logits, {&p, 0, {}, {}, mask}, {}, {}).token, 9);
  logits[9] = kNaN;
  EXPECT_EQ(sample_row(logits, {&p, 0, {}, {}, mask}, {}, {}).token, 33);
  logits[33] = logits[35] = kNaN;
  EXPECT_EQ(sample_row(logits, {&p, 0, {}, {}, mask}, {}, {}).token, 9);
}

TEST(Given, ATokenIsReportedOnAndNotChosen) {
  const std::vector<float> logits = random_logits(300, 9, 3);
  SamplingParameters p{.logprobs = true, .top_logprobs = 2}, biased = p;
  biased.logit_bias = {{250, 1e9f}};
  TokenId ids[2][2];
  float logprobs[2][2];
  SamplingRow row{&p};
  row.given = 250;
  const SampledToken given = sample_row(logits, row, ids[0], logprobs[0]);
  EXPECT_EQ(given.token, 250);
  EXPECT_EQ(given.logprob, sample_row(logits, {&biased, 0}, ids[1], logprobs[1]).logprob);
  EXPECT_TRUE(std::equal(ids[0], ids[0] + 2, ids[1]));
}

TEST(Logprobs, AreNaNWhereALogitIsNoNumberAskedForOrNot) {
  for (const std::size_t vocab : {1, 15, 16, 17, 300, 4096}) {
    for (const float bad : {kNaN, kInfinity, -kInfinity}) {
      for (const std::size_t at : {std::size_t{0}, vocab / 2, vocab - 1}) {
        std::vector<float> logits = random_logits(vocab, 2, 100);
        for (const SamplingParameters& p : {SamplingParameters{}, SamplingParameters{.logprobs = true}}) {
          EXPECT_FALSE(std::isnan(sample_row(logits, {&p, 0}, {}, {}).logprob));
          std::vector<float> broken = logits;
          broken[at] = bad;
          EXPECT_TRUE(std::isnan(sample_row(broken, {&p, 0}, {}, {}).logprob)) << vocab << " " << at;
        }
      }
    }
  }
}

std::string complaint(const SamplingParameters& p) {
  try {
    p.validate(100);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    return e.what();
  }
  return "";
}

TEST(Validate, NamesTheFieldTheValueAndTheRange) {
  EXPECT_EQ(complaint({}), "");
  EXPECT_EQ(complaint({.temperature = 2, .top_k = 5, .top_p = 1, .min_p = 0.9f, .logit_bias = {{99, -100.0f}}}), "");
  EXPECT_EQ(complaint({.temperature = -0.5f}), "temperature is -0.5; it must be 0 or more");
  EXPECT_EQ(complaint({.temperature = kNaN}), "temperature is nan; it must be 0 or more");
  EXPECT_EQ(complaint({.top_k = -1}), "top_k is -1; it must be 0 (all) or more");
  EXPECT_EQ(complaint({.top_p = 0}), "top_p is 0; it must be above 0 and at most 1");
  EXPECT_EQ(complaint({.top_p = 1.5f}), "top_p is 1.5; it must be above 0 and at most 1");
  EXPECT_EQ(complaint({.min_p = 1}), "min_p is 1; it must be at least 0 and below 1");
  EXPECT_EQ(complaint({.repetition_penalty = 0}), "repetition_penalty is 0; it must be above 0");
  EXPECT_EQ(complaint({.presence_penalty = kInfinity}), "presence_penalty is inf; it must be a finite number");
  EXPECT_EQ(complaint({.frequency_penalty = kNaN}), "frequency_penalty is nan; it must be a finite number");
  EXPECT_EQ(complaint({.top_logprobs = 21}), "top_logprobs is 21; it must be from 0 to 20");
  EXPECT_EQ(complaint({.logit_bias = {{100, 1.0f}}}),
            "a token of logit_bias is 100; it must be from 0 to 99, the vocabulary");
  EXPECT_EQ(complaint({.logit_bias = {{1, kNaN}}}), "logit_bias is nan; it must be a number");
}

}  // namespace
}  // namespace strata
