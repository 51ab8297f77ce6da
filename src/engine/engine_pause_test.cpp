// Claims about requests that are paused because nobody reads their tokens.
#include "engine/engine_test_requests.h"

namespace strata {
namespace {

struct Fixture {
  explicit Fixture(const EngineOptions& options) : engine(model, backend, options) {}
  FakeBackend backend;
  FakeModel model;
  Engine engine;
};

void expect_whole(const Answer& answer, const Request& request) {
  const Answer whole = expected(request, kContext);
  EXPECT_EQ(answer.tokens, whole.tokens);
  EXPECT_EQ(answer.finish, whole.finish);
  EXPECT_EQ(answer.last_events, 1);
}

SamplingParameters drawn(std::uint64_t seed) {
  SamplingParameters sampling;
  sampling.temperature = 1;
  sampling.repetition_penalty = 1.2f;
  sampling.seed = seed;
  return sampling;
}

TEST(Pause, StopsTheTokensAndLaterGivesTheSameOnes) {
  for (const int in_flight : {1, 2, 3}) {
    for (const int steps : {1, 3, 30}) {  // within the prompt, within the answer, within a longer one
      Fixture f({.max_sequences = 2, .context = kContext, .chunk = 8, .steps_in_flight = in_flight});
      Answer paused, neighbour;
      const Request request = ask(tokens_from(1, 20), 60), other = ask({8}, 20);
      const RequestId id = f.engine.submit(listen(ask(request.prompt, 60), paused));
      for (int i = 0; i < steps; ++i) f.engine.step();
      f.engine.pause(id, true);
      const std::size_t known = paused.tokens.size();
      f.engine.submit(listen(ask(other.prompt, 20), neighbour));
      run(f.engine);
      EXPECT_LE(paused.tokens.size(), known + static_cast<std::size_t>(in_flight)) << "what was in flight still comes";
      EXPECT_EQ(paused.last_events, 0);
      expect_whole(neighbour, other);
      f.engine.pause(id, false);
      run(f.engine);
      expect_whole(paused, request);
      EXPECT_EQ(f.engine.pool().free_slots(), 2);
    }
  }
}

TEST(Pause, GivesItsPlaceToThoseThatWaitAndComesBackWithTheSameBits) {
  for (const int in_flight : {1, 2, 3}) {
    Fixture f({.max_sequences = 1, .context = kContext, .chunk = 16, .steps_in_flight = in_flight});
    Answer first, second, third;
    Request drawn_request = ask(tokens_from(3, 30), 70, drawn(11));
    const RequestId id = f.engine.submit(listen(ask(drawn_request.prompt, 70, drawn(11)), first));
    for (int i = 0; i < 20; ++i) f.engine.step();
    f.engine.pause(id, true);
    run(f.engine);
    EXPECT_EQ(f.engine.stats().parked, 0) << "nobody needs its place";
    const RequestId waits = f.engine.submit(listen(ask({5}, 40), second));
    run(f.engine);
    expect_whole(second, ask({5}, 40));
    EXPECT_EQ(f.engine.stats().parked, 1);
    EXPECT_EQ(f.engine.stats().paused, 1);
    f.engine.submit(listen(ask({6}, 10), third));
    f.engine.pause(id, false);
    f.engine.pause(waits, false);  // has ended
    run(f.engine);
    expect_whole(first, drawn_request);
    expect_whole(third, ask({6}, 10));
    EXPECT_EQ(f.engine.stats().paused, 0);
    EXPECT_EQ(f.engine.stats().parked, 0);
  }
}

TEST(Pause, GivesItsPagesToThoseThatGrow) {
  Fixture f({.max_sequences = 2, .context = kContext, .kv_tokens = 3 * kPageSize, .chunk = 16});
  Answer paused, grows;
  const Request request = ask(tokens_from(1, 70), 20), other = ask({2}, 140);
  const RequestId id = f.engine.submit(listen(ask(request.prompt, 20), paused));
  for (int i = 0; i < 8; ++i) f.engine.step();
  f.engine.pause(id, true);
  f.engine.submit(listen(ask(other.prompt, 140), grows));
  run(f.engine);
  expect_whole(grows, other);
  f.engine.pause(id, false);
  run(f.engine);
  expect_whole(paused, request);
}

TEST(Pause, OfOneThatWaitsKeepsItWaiting) {
  Fixture f({.max_sequences = 1, .context = kContext});
  Answer first, waits, last;
  f.engine.submit(listen(ask({1}, 10), first));
  const RequestId id = f.engine.submit(listen(ask({2}, 10), waits));
  f.engine.pause(id, true);
  f.engine.submit(listen(ask({3}, 10), last));
  run(f.engine);
  expect_whole(first, ask({1}, 10));
  expect_whole(last, ask({3}, 10));
  EXPECT_TRUE(waits.tokens.empty());
  f.engine.pause(id, false);
  run(f.engine);
  expect_whole(waits, ask({2}, 10));
}

TEST(Pause, HostMemoryHoldsNoMoreOfThemThanMayRun) {
  Fixture f({.max_sequences = 2, .context = kContext});
  std::vector<Answer> answers(8);
  std::vector<RequestId> ids;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ids.push_back(f.engine.submit(listen(ask({static_cast<TokenId>(i)}, 30), answers[i])));
    for (int step = 0; step < 4; ++step) f.engine.step();
    f.engine.pause(ids.back(), true);
    run(f.engine);
    EXPECT_LE(f.engine.stats().parked, 2);
  }
  for (const RequestId id : ids) f.engine.pause(id, false);
  run(f.engine);
  for (std::size_t i = 0; i < answers.size(); ++i) expect_whole(answers[i], ask({static_cast<TokenId>(i)}, 30));
}

TEST(Pause, CancelEndsItWhereverItStands) {
  for (const bool parked : {false, true}) {
    Fixture f({.max_sequences = 1, .context = kContext});
    Answer paused, other;
    const RequestId id = f.engine.submit(listen(ask({1}, 30), paused));
    for (int i = 0; i < 4; ++i) f.engine.step();
    f.engine.pause(id, true);
    if (parked) f.engine.submit(listen(ask({2}, 5), other));
    run(f.engine);
    f.engine.cancel(id);
    run(f.engine);
    EXPECT_EQ(paused.finish, FinishReason::cancelled);
    EXPECT_EQ(paused.last_events, 1);
    EXPECT_EQ(f.engine.active(), 0);
    EXPECT_EQ(f.engine.stats().paused, 0);
    EXPECT_EQ(f.engine.pool().free_slots(), 1);
  }
}

TEST(Pause, IsNoWorkForAWatchdog) {
  Fixture f({.context = kContext});
  Answer answer;
  const RequestId id = f.engine.submit(listen(ask({1}, 30), answer));
  f.engine.step();
  EXPECT_TRUE(f.engine.stats().has_work);
  f.engine.pause(id, true);
  run(f.engine);
  EXPECT_FALSE(f.engine.stats().has_work);
  const auto before = std::chrono::steady_clock::now();
  f.engine.pause(id, false);
  EXPECT_GE(f.engine.stats().last_step, before) << "the time that it stood still is nobody's delay";
  run(f.engine);
  EXPECT_EQ(answer.finish, FinishReason::length);
}

}  // namespace
}  // namespace strata
