// Claims about answers that are constrained, and about logits that are no numbers.
#include <gtest/gtest.h>

#include <stdexcept>

#include "engine/engine_test_requests.h"

namespace strata {
namespace {

void clear(std::span<std::uint32_t> allowed, TokenId token) {
  allowed[static_cast<std::size_t>(token / 32)] &= ~(std::uint32_t{1} << token % 32);
}

/// After a token t, only those tokens may come whose remainder by `modulus` isn't t's; checks how it is called.
class NotTheSameRemainder final : public TokenConstraint {
 public:
  NotTheSameRemainder(TokenId modulus, std::vector<TokenId>& accepted) : modulus_(modulus), accepted_(accepted) {}
  bool restrict(std::span<std::uint32_t> allowed) override {
    EXPECT_EQ(allowed.size(), 2u);
    EXPECT_EQ(allowed[1] >> (kFakeVocab - 32), 0u) << "bits past the vocabulary are 0";
    EXPECT_EQ(restricted_++, accepted_.size()) << "restrict and accept take turns";
    if (accepted_.empty()) return false;
    for (TokenId t = accepted_.back() % modulus_; t < kFakeVocab; t += modulus_) clear(allowed, t);
    return true;
  }
  void accept(TokenId token) override { accepted_.push_back(token); }

 private:
  TokenId modulus_;
  std::vector<TokenId>& accepted_;
  std::size_t restricted_ = 0;
};

/// The right answer of a request that NotTheSameRemainder constrains.
std::vector<TokenId> constrained(const Request& request, const std::vector<TokenId>& moduli) {
  std::vector<TokenId> answer;
  std::uint64_t hash = 0;
  for (TokenId t : request.prompt) hash = fake_hash(hash, t);
  while (std::ssize(answer) < request.max_tokens) {
    std::vector<float> logits(kFakeVocab);
    fake_logits(hash, logits.data());
    for (TokenId modulus : moduli) {
      for (TokenId t = 0; t < kFakeVocab && !answer.empty(); ++t) {
        if (t % modulus == answer.back() % modulus) logits[static_cast<std::size_t>(t)] = -1e30f;
      }
    }
    const SamplingRow row{&request.sampling, request.prompt.size() + answer.size(), request.prompt, answer};
    answer.push_back(sample_row(logits, row, {}, {}).token);
    hash = fake_hash(hash, answer.back());
  }
  return answer;
}

TEST(Constraint, AllOfThemHoldForEveryTokenAndNeighboursAreLeftAlone) {
  for (const int in_flight : {1, 3}) {
    for (const float temperature : {0.0f, 1.0f}) {
      FakeBackend backend;
      FakeModel model;
      Engine engine(model, backend,
                    {.max_sequences = 3, .context = kContext, .chunk = 8, .steps_in_flight = in_flight});
      std::vector<TokenId> accepted2, accepted3;
      Request request = ask(tokens_from(3, 20), 30, {.temperature = temperature, .seed = 5});
      const std::vector<TokenId> right = constrained(request, {2, 3});
      request.constraints = {std::make_shared<NotTheSameRemainder>(2, accepted2),
                             std::make_shared<NotTheSameRemainder>(3, accepted3)};
      Answer answer, before, after;
      engine.submit(listen(ask({8}, 40, {.temperature = 1}), before));
      engine.submit(listen(std::move(request), answer));
      engine.submit(listen(ask({9, 9}, 35), after));
      run(engine);
      EXPECT_EQ(answer.tokens, right);
      EXPECT_EQ(accepted2, right);
      EXPECT_EQ(accepted3, right);
      EXPECT_EQ(before.tokens, expected(ask({8}, 40, {.temperature = 1}), kContext).tokens);
      EXPECT_EQ(after.tokens, expected(ask({9, 9}, 35), kContext).tokens);
      for (std::size_t i = 1; i < right.size(); ++i) EXPECT_NE(right[i] % 2, right[i - 1] % 2);
    }
  }
}

TEST(Constraint, ARowOfOneNeverRunsAheadOfTheHost) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = kContext, .steps_in_flight = 3});
  std::vector<TokenId> accepted;
  Request request = ask({1}, 12);
  request.constraints = {std::make_shared<NotTheSameRemainder>(2, accepted)};
  Answer answer;
  engine.submit(listen(std::move(request), answer));
  run(engine);
  EXPECT_EQ(answer.tokens.size(), 12u);
  for (const FakeStep& step : model.steps) EXPECT_FALSE(step.ran_ahead);
}

/// Leaves one token, from the `from`-th on.
struct Only final : TokenConstraint {
  Only(TokenId only, int first) : token(only), from(first) {}
  bool restrict(std::span<std::uint32_t> allowed) override {
    if (from-- > 0) return false;
    for (TokenId t = 0; t < kFakeVocab; ++t) {
      if (t != token) clear(allowed, t);
    }
    return true;
  }
  void accept(TokenId) override {}
  TokenId token;
  int from;
};

TEST(Constraint, OneBitForcesItsTokenEvenAgainstABiasOfInfinity) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = kContext});
  const float infinity = std::numeric_limits<float>::infinity();
  Request request = ask({1}, 3, {.temperature = 1, .logit_bias = {{7, infinity}, {11, -infinity}}});
  request.constraints = {std::make_shared<Only>(11, 0)};
  Answer answer;
  engine.submit(listen(std::move(request), answer));
  run(engine);
  EXPECT_EQ(answer.tokens, (std::vector<TokenId>{11, 11, 11}));
}

TEST(Constraint, NothingLeftFailsThatRequestOnly) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.max_sequences = 2, .context = kContext});
  Request request = ask({1}, 9);
  request.constraints = {std::make_shared<Only>(5, 2), std::make_shared<Only>(6, 2)};
  Answer failed, neighbour;
  engine.submit(listen(std::move(request), failed));
  engine.submit(listen(ask({2}, 20), neighbour));
  run(engine);
  EXPECT_EQ(failed.finish, FinishReason::failed);
  EXPECT_EQ(failed.tokens.size(), 2u);
  EXPECT_EQ(failed.error,
            "no token may come after the 2 of the answer: the request's constraints exclude each other; ask for fewer "
            "of them at once");
  EXPECT_EQ(neighbour.tokens, expected(ask({2}, 20), kContext).tokens);
  EXPECT_EQ(engine.stats().failed, 1);
}

struct Throws final : TokenConstraint {
  explicit Throws(bool when_accepting) : accepting(when_accepting) {}
  bool restrict(std::span<std::uint32_t>) override {
    if (!accepting) throw std::runtime_error("no");
    return false;
  }
  void accept(TokenId) override { throw std::runtime_error("no"); }
  bool accepting;
};

TEST(Constraint, WhatOneThrowsFailsThatRequestOnly) {
  for (const bool accepting : {false, true}) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(model, backend, {.max_sequences = 2, .context = kContext, .steps_in_flight = 2});
    Request request = ask({1}, 9);
    request.constraints = {std::make_shared<Throws>(accepting)};
    Answer failed, neighbour;
    engine.submit(listen(std::move(request), failed));
    engine.submit(listen(ask({2}, 20), neighbour));
    run(engine);
    EXPECT_EQ(failed.finish, FinishReason::failed);
    EXPECT_EQ(failed.error, "no");
    EXPECT_EQ(failed.last_events, 1);
    EXPECT_EQ(neighbour.tokens, expected(ask({2}, 20), kContext).tokens);
  }
}

TEST(NumericalError, EndsItsSequenceAndNoOther) {
  for (const int in_flight : {1, 3}) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(
        model, backend,
        {.max_sequences = 3, .context = kContext, .chunk = 8, .spare_slots = 2, .steps_in_flight = in_flight});
    Answer broken, before, after;
    std::vector<TokenId> prompt = tokens_from(2, 20);
    prompt.push_back(kBroken);
    engine.submit(listen(ask({8}, 40), before));
    Request request = ask(prompt, 9);
    request.snapshots = {10, 21};
    engine.submit(listen(std::move(request), broken));
    engine.submit(listen(ask({9, 9}, 35, {.temperature = 1}), after));
    run(engine);
    EXPECT_EQ(broken.finish, FinishReason::numerical_error);
    EXPECT_TRUE(broken.tokens.empty());
    EXPECT_EQ(broken.last_events, 1);
    EXPECT_EQ(broken.error,
              "the logits of token 21 aren't finite numbers, so that no token can be chosen; `strata validate` says "
              "whether the checkpoint's weights are sound");
    EXPECT_EQ(before.tokens, expected(ask({8}, 40), kContext).tokens);
    EXPECT_EQ(after.tokens, expected(ask({9, 9}, 35, {.temperature = 1}), kContext).tokens);
    EXPECT_EQ(engine.stats().numerical_errors, 1);
    EXPECT_EQ(engine.stats().snapshots, 0) << "what it left behind can't be trusted";
  }
}

}  // namespace
}  // namespace strata
