// Claims about sequences that run out of pages: they are parked, and nobody can tell from the answers.
#include <gtest/gtest.h>

#include "engine/engine_test_requests.h"

namespace strata {
namespace {

struct Fixture {
  explicit Fixture(const EngineOptions& options) : engine(model, backend, options) {}
  FakeBackend backend;
  FakeModel model;
  Engine engine;
};

TEST(Parking, IsNoDifferenceToAnyAnswer) {
  for (const int in_flight : {1, 2, 3}) {
    for (const std::int64_t pages : {3, 4, 7}) {
      Fixture f({.max_sequences = 5,
                 .context = kContext,
                 .kv_tokens = pages * kPageSize,
                 .chunk = 16,
                 .steps_in_flight = in_flight});
      std::vector<Answer> answers(12);
      std::vector<int> starts(answers.size());
      const auto request = [](std::size_t i) {
        SamplingParameters p;
        p.temperature = i % 2 ? 0.9f : 0.0f;
        p.seed = i;
        if (i % 3 == 0) p.repetition_penalty = 1.2f;
        return ask(tokens_from(static_cast<TokenId>(i), 1 + i * 9), 30 + static_cast<std::int64_t>(i * 5 % 47), p);
      };
      for (std::size_t i = 0; i < answers.size(); ++i) {
        Request r = listen(request(i), answers[i]);
        r.on_start = [&starts, i](std::int64_t cached) {
          ++starts[i];
          EXPECT_EQ(cached, 0);
        };
        f.engine.submit(std::move(r));
      }
      run(f.engine);
      for (std::size_t i = 0; i < answers.size(); ++i) {
        EXPECT_EQ(answers[i].tokens, expected(request(i), kContext).tokens) << "request " << i << ", pages " << pages;
        EXPECT_EQ(answers[i].finish, FinishReason::length);
        EXPECT_EQ(starts[i], 1);
      }
      const EngineStats stats = f.engine.stats();
      EXPECT_TRUE(pages > 4 || stats.preemptions > 0) << "the pool must have been too small for the test to mean much";
      EXPECT_EQ(stats.parked, 0);
      EXPECT_EQ(stats.running, 0);
      EXPECT_EQ(f.engine.pool().free_pages(), pages);
      EXPECT_EQ(f.engine.pool().free_slots(), 5);
    }
  }
}

TEST(Parking, TakesTheLastAndTheLeastUrgent) {
  for (const bool urgent : {false, true}) {
    Fixture f({.max_sequences = 2, .context = kContext, .kv_tokens = 3 * kPageSize});
    Answer first, second;
    std::vector<RequestId> ended;
    const auto submit = [&](TokenId token, Answer& answer, std::int64_t priority) {
      Request request = listen(ask({token}, 149), answer);
      request.priority = priority;
      request.on_token = [&ended, inner = request.on_token](const TokenEvent& e) {
        inner(e);
        if (e.finish != FinishReason::none) ended.push_back(e.request);
      };
      return f.engine.submit(std::move(request));
    };
    const RequestId a = submit(1, first, 0), b = submit(2, second, urgent ? -1 : 0);
    int parked = 0;
    for (; f.engine.step(); parked += f.engine.stats().parked > 0) {
    }
    EXPECT_GT(parked, 0);
    EXPECT_EQ(ended, urgent ? (std::vector<RequestId>{b, a}) : (std::vector<RequestId>{a, b}));
    EXPECT_EQ(first.tokens, expected(ask({1}, 149), kContext).tokens);
    EXPECT_EQ(second.tokens, expected(ask({2}, 149), kContext).tokens);
  }
}

TEST(Parking, AParkedRequestCanBeCancelled) {
  Fixture f({.max_sequences = 2, .context = kContext, .kv_tokens = 3 * kPageSize, .steps_in_flight = 2});
  Answer first, second;
  f.engine.submit(listen(ask({1}, 149), first));
  const RequestId id = f.engine.submit(listen(ask({2}, 149), second));
  while (f.engine.stats().parked == 0) ASSERT_TRUE(f.engine.step());
  f.engine.cancel(id);
  run(f.engine);
  EXPECT_EQ(second.finish, FinishReason::cancelled);
  EXPECT_EQ(second.last_events, 1);
  EXPECT_FALSE(second.tokens.empty());
  EXPECT_EQ(first.tokens, expected(ask({1}, 149), kContext).tokens);
  EXPECT_EQ(f.engine.stats().parked, 0);
  EXPECT_EQ(f.engine.stats().cancelled_in_decode, 1);
}

TEST(Parking, AStateThatWaitsGivesWayToThoseBeforeIt) {
  // The second request brings the only slot; the first needs one.
  Fixture f({.context = kContext, .steps_in_flight = 2});
  std::optional<SequenceState> state;
  std::vector<TokenId> seen;
  Answer turn, first, second;
  Request request = listen(ask(tokens_from(1, 70), 10), turn);
  request.on_state = [&](SequenceState s, std::vector<TokenId> tokens) {
    state = std::move(s);
    seen = std::move(tokens);
  };
  f.engine.submit(std::move(request));
  run(f.engine);
  ASSERT_TRUE(state);
  seen.push_back(3);
  f.engine.submit(listen(ask({4, 5}, 20), first));
  Request next = listen(ask(seen, 12), second);
  next.state = std::move(state);
  std::int64_t cached = -1;
  next.on_start = [&](std::int64_t tokens) { cached = tokens; };
  f.engine.submit(std::move(next));
  f.model.steps.clear();
  run(f.engine);
  EXPECT_EQ(first.tokens, expected(ask({4, 5}, 20), kContext).tokens);
  EXPECT_EQ(second.tokens, expected(ask(seen, 12), kContext).tokens);
  EXPECT_EQ(cached, 79);
  EXPECT_EQ(f.engine.pool().free_slots(), 1);
}

TEST(Priority, DecidesWhoStartsFirst) {
  Fixture f({.context = kContext});
  std::vector<RequestId> started;
  for (const std::int64_t priority : {0, 5, -3, 0, 5, -3}) {
    Request request = ask({1, 2}, 3);
    request.priority = priority;
    request.on_start = [&started, id = started.size()](std::int64_t) { started.push_back(id); };
    request.on_token = [&started](const TokenEvent& e) {
      if (e.finish != FinishReason::none) started.back() = e.request;
    };
    f.engine.submit(std::move(request));
  }
  run(f.engine);
  EXPECT_EQ(started, (std::vector<RequestId>{3, 6, 1, 4, 2, 5}));
}

TEST(Queue, IsRefusedWhenFullAndTakenWhenThereIsRoomAgain) {
  Fixture f({.max_sequences = 2, .context = kContext, .max_queue = 3});
  std::vector<Answer> answers(6);
  const auto submit = [&](std::size_t i) { f.engine.submit(listen(ask({1}, 5), answers[i])); };
  for (std::size_t i = 0; i < 5; ++i) submit(i);
  try {
    submit(5);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::busy);
    EXPECT_STREQ(e.what(), "5 requests run and wait, and max_queue is 3; ask again later");
  }
  EXPECT_EQ(f.engine.stats().refused, 1);
  run(f.engine);
  submit(5);
  run(f.engine);
  for (const Answer& a : answers) EXPECT_EQ(a.tokens.size(), 5u);
}

TEST(Queue, ItsTokensAreBoundedButOneRequestIsAlwaysTaken) {
  Fixture f({.context = kContext, .max_queued_tokens = 50});
  std::vector<Answer> answers(4);
  f.engine.submit(listen(ask(tokens_from(1, 90), 5), answers[0]));
  EXPECT_THROW(f.engine.submit(listen(ask({1}, 5), answers[1])), Error);
  f.engine.step();  // the first has started
  f.engine.submit(listen(ask(tokens_from(1, 30), 5), answers[1]));
  f.engine.submit(listen(ask(tokens_from(1, 20), 5), answers[2]));
  EXPECT_EQ(f.engine.stats().queued_tokens, 50);
  EXPECT_THROW(f.engine.submit(listen(ask({1}, 5), answers[3])), Error);
  run(f.engine);
  EXPECT_EQ(f.engine.stats().queued_tokens, 0);
  EXPECT_EQ(f.engine.stats().refused, 2);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(answers[i].tokens.size(), 5u);
}

TEST(Stats, CountWhatHappened) {
  Fixture f({.max_sequences = 2, .context = kContext, .chunk = 16, .spare_slots = 1});
  EXPECT_FALSE(f.engine.stats().has_work);
  std::vector<Answer> answers(4);
  const auto before = std::chrono::steady_clock::now();
  const RequestId decoding = f.engine.submit(listen(ask({1}, 100), answers[0]));
  EXPECT_TRUE(f.engine.stats().has_work);
  EXPECT_GE(f.engine.stats().last_step, before) << "an engine that was idle isn't late";
  f.engine.step();
  f.engine.step();
  const RequestId prefilling = f.engine.submit(listen(ask(tokens_from(1, 60), 5), answers[1]));
  const RequestId waiting = f.engine.submit(listen(ask({3}, 5), answers[2]));
  f.engine.step();
  EngineStats stats = f.engine.stats();
  EXPECT_EQ(stats.running, 2);
  EXPECT_EQ(stats.waiting, 1);
  EXPECT_EQ(stats.queued_tokens, 1);
  EXPECT_EQ(stats.steps, 3);
  EXPECT_EQ(stats.prompt_tokens, 1 + 15);
  EXPECT_EQ(stats.generated_tokens, 3);
  EXPECT_EQ(stats.step_tokens[0], 2);
  EXPECT_EQ(stats.step_tokens[2], 1);  // 16 tokens
  EXPECT_EQ(stats.slots_used, 2);
  EXPECT_EQ(stats.slots_total, 3);
  EXPECT_EQ(stats.kv_pages_total, 6);
  EXPECT_EQ(stats.kv_pages_used, 2);
  for (const RequestId id : {decoding, prefilling, waiting}) f.engine.cancel(id);
  f.engine.submit(listen(ask({4}, 2), answers[3]));
  run(f.engine);
  stats = f.engine.stats();
  EXPECT_EQ(stats.cancelled_in_decode, 1);
  EXPECT_EQ(stats.cancelled_in_prefill, 1);
  EXPECT_EQ(stats.cancelled_in_queue, 1);
  EXPECT_EQ(stats.finished_length, 1);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.started, 3);
  EXPECT_EQ(stats.slots_used, 0);
  EXPECT_FALSE(stats.has_work);
}

}  // namespace
}  // namespace strata
