// Experts against the linear layers that they are made of, the router, norms and the slot's last token.
#include <cmath>

#include "backend/cpu/cpu_test_support.h"

namespace strata {
namespace {

using namespace cpu_test;

class CpuMoe : public EveryIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, CpuMoe, testing::ValuesIn(kIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

constexpr std::int64_t kExperts = 8, kChosen = 3, kWidth = 96, kInner = 40;

struct Bank {
  std::vector<LinearWeight> up, down;
};
Bank mixed_bank() {
  Bank bank;
  const char* const formats[] = {"bf16", "fp8", "f32", "nvfp4"};
  for (std::uint32_t e = 0; e < kExperts; ++e) {
    bank.up.push_back(random_weight(formats[e % 4], kInner, kWidth, 10 + e));
    bank.down.push_back(random_weight(e % 2 ? "fp8" : "bf16", kWidth, kInner, 50 + e));
  }
  return bank;
}

struct Routed {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};
Routed routed(std::int64_t tokens) {
  Routed r;
  std::mt19937 random(4);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int32_t first = std::int32_t(random() % 3), second = first + 1 + std::int32_t(random() % 2);
    r.ids.insert(r.ids.end(), {first, second, second + 1 + std::int32_t(random() % 3)});
  }
  r.weights = random_floats(tokens * kChosen, 8);
  return r;
}

std::vector<float> run_experts(int threads, Isa isa, const std::vector<float>& x, Routed r, std::int64_t tokens) {
  CpuBackend backend(threads, isa);
  backend.reserve(limits());
  const Bank bank = mixed_bank();
  const auto up = backend.load_linear(bank.up), down = backend.load_linear(bank.down);
  std::vector<float> out(std::size_t(tokens * kWidth), -1);
  backend.experts(view(x, tokens), {view(r.ids, tokens), view(r.weights, tokens)}, *up, *down, view(out, tokens));
  return out;
}

TEST_P(CpuMoe, ExpertsAreTheirLinearLayersInAnyCompany) {
  const std::int64_t tokens = 150;
  const auto x = random_floats(tokens * kWidth, 2, 0.1f);
  const Routed all = routed(tokens);
  const auto together = run_experts(1, GetParam(), x, all, tokens);
  for (const int threads : {2, 3}) EXPECT_EQ(run_experts(threads, GetParam(), x, all, tokens), together);
  const Bank bank = mixed_bank();
  CpuBackend backend(2, GetParam());
  backend.reserve(limits());
  for (std::int64_t t = 0; t < tokens; t += 13) {
    const std::vector<float> row(x.begin() + t * kWidth, x.begin() + (t + 1) * kWidth);
    std::vector<float> sum(kWidth), inner(kInner), y(kWidth);
    for (std::int64_t i = 0; i < kChosen; ++i) {
      const auto e = std::size_t(all.ids[std::size_t(t * kChosen + i)]);
      backend.linear(view(row, 1), *backend.load_linear({&bank.up[e], 1}), view(inner, 1));
      backend.relu_squared(view(inner, 1), view(inner, 1));
      backend.linear(view(inner, 1), *backend.load_linear({&bank.down[e], 1}), view(y, 1));
      for (std::size_t c = 0; c < kWidth; ++c) sum[c] += all.weights[std::size_t(t * kChosen + i)] * y[c];
    }
    EXPECT_EQ(std::memcmp(sum.data(), &together[std::size_t(t * kWidth)], kWidth * sizeof(float)), 0) << t;
  }
}

TEST_P(CpuMoe, RouterTakesTheBestInTheBestGroupsAndTheLowerIdAmongEquals) {
  CpuBackend backend(2, GetParam());
  backend.reserve(limits());
  const std::vector<float> logits = {0, 0, 5, 0, 1, 1, 1, 1, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
  const Vector bias = vector_of(backend, std::vector<float>(8, 0.0f));
  std::vector<std::int32_t> ids(4);
  std::vector<float> weights(4);
  backend.route(view(logits, 2), bias, {4, 2, true, 2.5f}, {view(ids, 2), view(weights, 2)});
  EXPECT_EQ(ids[0], 2);  // groups {2, 3} (1.49) and {4, 5} (1.46) stay
  EXPECT_EQ(ids[1], 4);
  EXPECT_NEAR(weights[0] + weights[1], 2.5f, 1e-6);
  EXPECT_LT(ids[2], ids[3]);
}

TEST_P(CpuMoe, NormsAndTheRoutersProductAreTheirEquations) {
  CpuBackend backend(3, GetParam());
  backend.reserve(limits());
  for (const std::int64_t n : {1, 7, 16, 83}) {
    const auto x = random_floats(5 * n, 1), z = random_floats(5 * n, 2, 20), w = random_floats(n, 3);
    std::vector<float> normed(x.size()), gated(x.size()), product(std::size_t(5 * 19));
    const Vector weight = vector_of(backend, w), rows = vector_of(backend, random_floats(19 * n, 4));
    backend.rms_norm(view(x, 5), weight, 1e-5f, view(normed, 5));
    backend.gated_rms_norm(view(x, 5), view(z, 5), weight, 1, 1e-5f, view(gated, 5));
    backend.linear_f32(view(x, 5), {rows.data, 19, n}, view(product, 5));
    for (std::size_t r = 0; r < 5; ++r) {
      double squares = 0, gated_squares = 0;
      const auto gate = [&](std::size_t i) { return x[i] * (z[i] / (1 + std::exp(-double(z[i])))); };
      for (std::size_t c = 0; c < std::size_t(n); ++c) {
        squares += double(x[r * n + c]) * x[r * n + c];
        gated_squares += gate(r * n + c) * gate(r * n + c);
      }
      for (std::size_t c = 0; c < std::size_t(n); ++c) {
        EXPECT_NEAR(normed[r * n + c], x[r * n + c] / std::sqrt(squares / double(n) + 1e-5) * w[c], 4e-6);
        EXPECT_NEAR(gated[r * n + c], gate(r * n + c) / std::sqrt(gated_squares / double(n) + 1e-5) * w[c], 4e-6);
      }
      for (std::size_t o = 0; o < 19; ++o) {
        double sum = 0;
        for (std::size_t c = 0; c < std::size_t(n); ++c)
          sum += double(x[r * n + c]) * reinterpret_cast<const float*>(rows.data.get())[o * n + c];
        EXPECT_NEAR(product[r * 19 + o], sum, 2e-5);
      }
    }
  }
}

TEST_P(CpuMoe, SampledTokenIsEmbeddedInTheNextStepOfItsSlot) {
  CpuBackend backend(2, GetParam());
  backend.reserve(limits());
  const SequenceRows sequences[] = {{0, 2, 0, 5, {}}, {2, 1, 0, 3, {}}};
  const std::int32_t logit_rows[] = {1, 2};
  const Batch batch{{}, sequences, logit_rows};
  const std::vector<float> logits = {0, 3, 1, 0, 0, 0, 0, 9};
  const SamplingParameters greedy;
  const SamplingRow rows[] = {{&greedy, 2, {}, {}}, {&greedy, 1, {}, {}}};
  std::vector<std::int32_t> tokens(2), top_ids(2 * kMaxTopLogprobs);
  std::vector<float> logprobs(2), top_logprobs(2 * kMaxTopLogprobs);
  backend.sample(backend.stage(batch), view(logits, 2), rows,
                 {view(tokens, 2), view(logprobs, 2), view(top_ids, 2), view(top_logprobs, 2)});
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{1, 3}));
  const LinearWeight weight = random_weight("bf16", 4, 16, 1);
  const auto table = backend.load_linear({&weight, 1});
  const TokenId next[] = {kTokenOfLastStep, kTokenOfLastStep};
  const SequenceRows after[] = {{0, 1, 1, 3, {}}, {1, 1, 2, 5, {}}};
  std::vector<float> out(32), row(16);
  backend.embed(backend.stage({next, after, {}}), *table, view(out, 2));
  decode_row(weight, 3, row);
  EXPECT_EQ(std::memcmp(row.data(), out.data(), 64), 0);
  decode_row(weight, 1, row);
  EXPECT_EQ(std::memcmp(row.data(), out.data() + 16, 64), 0);
}

}  // namespace
}  // namespace strata
