// Claims about the loop, on a model whose answers are known.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine_test_requests.h"

namespace strata {
namespace {

/// Requests of all kinds.
std::vector<Request> many_requests() {
  std::vector<Request> requests;
  for (int i = 0; i < 18; ++i) {
    SamplingParameters p;
    if (i % 3 > 0) p.temperature = 0.8f;
    if (i % 4 == 1) p.top_p = 0.9f;
    if (i % 5 == 2) p.repetition_penalty = 1.3f;
    if (i % 7 == 3) p.frequency_penalty = 0.5f;
    p.seed = static_cast<std::uint64_t>(i);
    Request request = ask(tokens_from(i, static_cast<std::size_t>(1 + i * 37 % 140)), i % 6 == 5 ? 1000 : 3 + 5 * i, p);
    if (i % 2 == 1) request.stop_tokens = {static_cast<TokenId>(i), static_cast<TokenId>(2 * i)};
    if (i == 7) request.max_tokens = 0;
    if (i == 8) request.max_tokens = 1;
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(Engine, AnswersDependOnNeitherStepsInFlightNorChunkNorNeighboursNorPages) {
  int stopped = 0;
  for (const EngineOptions& options : std::vector<EngineOptions>{
           {.max_sequences = 1, .context = kContext},
           {.max_sequences = 1, .context = kContext, .chunk = 1, .steps_in_flight = 2},
           {.max_sequences = 3, .context = kContext, .chunk = 3},
           {.max_sequences = 4, .context = kContext, .chunk = 7, .steps_in_flight = 2},
           {.max_sequences = 5, .context = kContext, .chunk = 64, .steps_in_flight = 3},
           {.max_sequences = 5, .context = kContext, .kv_tokens = 200, .chunk = 65, .steps_in_flight = 3},
           {.max_sequences = 30, .context = kContext, .chunk = 512, .steps_in_flight = 3},
       }) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(model, backend, options);
    const std::int64_t slots = engine.pool().free_slots(), pages = engine.pool().free_pages();
    std::vector<Request> requests = many_requests();
    std::vector<Answer> answers(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      engine.submit(listen(std::move(many_requests()[i]), answers[i]));
    }
    run(engine);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const Answer right = expected(requests[i], kContext);
      EXPECT_EQ(answers[i].tokens, right.tokens) << "request " << i << ", chunk " << options.chunk;
      EXPECT_EQ(answers[i].finish, right.finish) << "request " << i << ", chunk " << options.chunk;
      EXPECT_EQ(answers[i].last_events, 1);
      stopped += right.finish == FinishReason::stop;
    }
    EXPECT_EQ(engine.active(), 0);
    EXPECT_EQ(engine.pool().free_slots(), slots);
    EXPECT_EQ(engine.pool().free_pages(), pages);
    for (const FakeStep& step : model.steps) {
      EXPECT_LE(step.tokens, static_cast<std::size_t>(options.chunk));
      EXPECT_LE(step.sequences, static_cast<std::size_t>(options.max_sequences));
    }
  }
  EXPECT_GT(stopped, 7) << "the stop tokens must come up for the test to mean much";
}

TEST(Engine, OnlyRowsThatSampleAskForLogits) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.max_sequences = 2, .context = kContext, .chunk = 10});
  Answer answer;
  engine.submit(listen(ask(tokens_from(1, 25), 2), answer));
  run(engine);
  ASSERT_EQ(model.steps.size(), 4u);
  EXPECT_EQ(model.steps[0].logit_rows, 0u);
  EXPECT_EQ(model.steps[1].logit_rows, 0u);
  EXPECT_EQ(model.steps[2].logit_rows, 1u);
  EXPECT_EQ(model.steps[3].tokens, 1u);
  EXPECT_EQ(answer.tokens.size(), 2u);
}

TEST(Engine, RunsAheadUnlessADrawNeedsTheLastToken) {
  for (const bool penalty : {false, true}) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(model, backend, {.context = kContext, .steps_in_flight = 3});
    Answer answer;
    SamplingParameters p;
    if (penalty) p.presence_penalty = 0.1f;
    engine.submit(listen(ask({1, 2}, 20, p), answer));
    run(engine);
    EXPECT_EQ(answer.tokens.size(), 20u);
    const auto ahead =
        std::count_if(model.steps.begin(), model.steps.end(), [](const FakeStep& s) { return s.ran_ahead; });
    EXPECT_EQ(ahead, penalty ? 0 : 19);
    EXPECT_EQ(model.steps.size(), 20u) << "an answer's length is known, so nothing is computed past it";
  }
}

TEST(Engine, ASequenceThatStopsWastesAtMostTheStepsInFlight) {
  for (const int in_flight : {1, 2, 3}) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(model, backend, {.context = kContext, .steps_in_flight = in_flight});
    Request request = ask({3}, 50);
    request.stop_tokens = {expected(request, kContext).tokens[9]};
    const std::size_t length = expected(request, kContext).tokens.size();
    Answer answer;
    engine.submit(listen(std::move(request), answer));
    run(engine);
    EXPECT_EQ(answer.tokens.size(), length);
    EXPECT_EQ(answer.finish, FinishReason::stop);
    EXPECT_EQ(model.steps.size(), length + static_cast<std::size_t>(in_flight) - 1);
  }
}

TEST(Engine, NoTokensAskedForIsAnAnswerOfLengthZero) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = kContext});
  Answer answer;
  engine.submit(listen(ask({1}, 0), answer));
  EXPECT_EQ(answer.last_events, 0) << "events come on the engine's thread";
  EXPECT_TRUE(engine.step());
  EXPECT_FALSE(engine.step());
  EXPECT_EQ(answer.finish, FinishReason::length);
  EXPECT_TRUE(answer.tokens.empty());
  EXPECT_TRUE(model.steps.empty());
}

TEST(Engine, TheContextsEndEndsAnAnswer) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = 64, .steps_in_flight = 3});
  Answer answer;
  engine.submit(listen(ask(tokens_from(2, 60), 1 << 30), answer));
  run(engine);
  EXPECT_EQ(answer.tokens.size(), 4u);
  EXPECT_EQ(answer.finish, FinishReason::length);
}

TEST(Engine, LogprobsComeWithTheirTokens) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.max_sequences = 2, .context = kContext, .steps_in_flight = 2});
  std::vector<TokenId> best;
  Request request = ask({5, 6}, 4, {.temperature = 1, .top_logprobs = 3});
  request.on_token = [&](const TokenEvent& e) {
    ASSERT_EQ(e.top_ids.size(), 3u);
    ASSERT_EQ(e.top_logprobs.size(), 3u);
    EXPECT_GE(e.top_logprobs[0], e.logprob);
    EXPECT_LT(e.logprob, 0);
    best.push_back(e.top_ids[0]);
  };
  Answer other;
  engine.submit(std::move(request));
  engine.submit(listen(ask({9}, 6), other));
  run(engine);
  ASSERT_EQ(best.size(), 4u);
  EXPECT_EQ(best[0], expected(ask({5, 6}, 1), kContext).tokens[0]);
  EXPECT_EQ(other.tokens, expected(ask({9}, 6), kContext).tokens);
}

std::string refusal(Engine& engine, Request request) {
  try {
    engine.submit(std::move(request));
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    return e.what();
  }
  return "";
}

TEST(Engine, RefusesWhatCanNeverRunAndSaysWhy) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = 140, .kv_tokens = 100});
  EXPECT_EQ(refusal(engine, ask({}, 1)), "the prompt is empty; it must have at least one token");
  EXPECT_EQ(refusal(engine, ask({1, 40}, 1)), "the prompt has token 40; the vocabulary ends at 39");
  EXPECT_EQ(refusal(engine, ask({-1}, 1)), "the prompt has token -1; the vocabulary ends at 39");
  EXPECT_EQ(refusal(engine, ask(tokens_from(0, 140), 1)),
            "the prompt has 140 tokens; the context has room for 140, of which the answer needs at least one");
  EXPECT_EQ(refusal(engine, ask({1}, -2)), "max_tokens is -2; it must be 0 or more");
  EXPECT_EQ(refusal(engine, ask({1}, 1, {.top_p = 2})), "top_p is 2; it must be above 0 and at most 1");
  EXPECT_EQ(refusal(engine, ask({1}, 1000)),
            "the request may reach 139 tokens; there are keys and values for 128 (ask for fewer max_tokens, or start "
            "with more kv_tokens)");
  Request request = ask({1}, 1);
  request.state.emplace();
  EXPECT_NE(refusal(engine, std::move(request)), "");
  EXPECT_EQ(engine.active(), 0);
}

TEST(Engine, RefusesOptionsThatCannotBe) {
  FakeBackend backend;
  FakeModel model;
  const auto complaint = [&](const EngineOptions& options) -> std::string {
    try {
      Engine engine(model, backend, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(complaint({.context = 0}), "context is 0; it must be from 1 to 1000");
  EXPECT_EQ(complaint({.context = 1001}), "context is 1001; it must be from 1 to 1000");
  EXPECT_EQ(complaint({.max_sequences = 0, .context = 9}), "max_sequences is 0; it must be from 1 to 1048576");
  EXPECT_EQ(complaint({.max_sequences = 9, .context = 9, .chunk = 8}), "chunk is 8; it must be from 9 to 1048576");
  EXPECT_EQ(complaint({.context = 9, .steps_in_flight = 0}), "steps_in_flight is 0; it must be from 1 to 8");
  EXPECT_EQ(complaint({.context = 9, .kv_type = DType::f32}), "kv_type is f32; it must be bf16 or fp8");
}

TEST(Engine, ReservesForTheLargestStep) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.max_sequences = 3, .context = 99, .chunk = 77, .spare_slots = 2});
  EXPECT_EQ(backend.limits.tokens, 77);
  EXPECT_EQ(backend.limits.logit_rows, 3);
  EXPECT_EQ(backend.limits.sequences, 3);
  EXPECT_EQ(backend.limits.slots, 5);
  EXPECT_EQ(backend.limits.context, 99);
}

}  // namespace
}  // namespace strata
