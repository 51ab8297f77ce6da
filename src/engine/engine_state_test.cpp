// Claims about requests that end early, wait, fail, come from other threads or hand their state on.
#include <atomic>
#include <thread>

#include "base/error.h"
#include "engine/engine_test_requests.h"

namespace strata {
namespace {

struct Fixture {
  explicit Fixture(const EngineOptions& options) : engine(model, backend, options) {}
  FakeBackend backend;
  FakeModel model;
  Engine engine;
};

TEST(Cancel, EndsARequestOnceWhereverItIs) {
  for (const int in_flight : {1, 2, 3}) {
    Fixture f({.max_sequences = 2, .context = kContext, .chunk = 4, .steps_in_flight = in_flight});
    Answer decoding, prefilling, waiting, stays, unseen, done;
    const RequestId first = f.engine.submit(listen(ask({1}, 100), decoding));
    for (int i = 0; i < 8; ++i) f.engine.step();
    const std::size_t known = decoding.tokens.size();
    EXPECT_GT(known, 0u);
    const RequestId second = f.engine.submit(listen(ask(tokens_from(4, 60), 9), prefilling));
    const RequestId third = f.engine.submit(listen(ask({2}, 5), waiting));
    f.engine.submit(listen(ask({7, 8}, 12), stays));
    for (int i = 0; i < 4; ++i) f.engine.step();
    for (RequestId id : {first, second, third, first, RequestId{99}}) f.engine.cancel(id);
    const RequestId fifth = f.engine.submit(listen(ask({3}, 5), unseen));
    f.engine.cancel(fifth);
    EXPECT_EQ(waiting.last_events, 0) << "events come on the engine's thread";
    run(f.engine);
    for (const Answer* a : {&decoding, &prefilling, &waiting, &unseen}) {
      EXPECT_EQ(a->finish, FinishReason::cancelled);
      EXPECT_EQ(a->last_events, 1);
    }
    EXPECT_GE(decoding.tokens.size(), known);
    EXPECT_EQ(stays.tokens, expected(ask({7, 8}, 12), kContext).tokens) << "a neighbour's end must not matter";
    const RequestId last = f.engine.submit(listen(ask({7}, 2), done));
    run(f.engine);
    f.engine.cancel(last);
    run(f.engine);
    EXPECT_EQ(done.finish, FinishReason::length);
    EXPECT_EQ(f.engine.active(), 0);
    EXPECT_EQ(f.engine.pool().free_slots(), 2);
  }
}

TEST(Cancel, FromACallbackStopsTheAnswerThere) {
  for (const int in_flight : {1, 2, 3}) {
    Fixture f({.context = kContext, .steps_in_flight = in_flight});
    std::vector<TokenId> tokens;
    FinishReason finish = FinishReason::none;
    Request request = ask({1}, 100);
    request.on_token = [&](const TokenEvent& e) {
      if (e.token >= 0) tokens.push_back(e.token);
      if (tokens.size() == 5) f.engine.cancel(e.request);
      finish = e.finish;
    };
    f.engine.submit(std::move(request));
    run(f.engine);
    EXPECT_EQ(tokens.size(), 5u);
    EXPECT_EQ(finish, FinishReason::cancelled);
  }
}

TEST(Admission, WaitsInOrderForPagesAndNeverFailsMidway) {
  Fixture f({.max_sequences = 4, .context = kContext, .kv_tokens = 3 * 64, .chunk = 16, .steps_in_flight = 2});
  std::vector<RequestId> ended;
  for (int i = 0; i < 6; ++i) {
    Request request = ask(tokens_from(i, 60), i == 1 ? 80 : 5);  // the second needs all three pages
    request.on_token = [&ended](const TokenEvent& e) {
      if (e.finish == FinishReason::none) return;
      EXPECT_EQ(e.finish, FinishReason::length);
      ended.push_back(e.request);
    };
    f.engine.submit(std::move(request));
  }
  run(f.engine);
  EXPECT_EQ(ended, (std::vector<RequestId>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(f.engine.pool().free_pages(), 3);
}

TEST(Failure, EndsTheRequestsOfItsStepAndLeavesTheOthers) {
  for (const int in_flight : {1, 2, 3}) {
    Fixture f({.max_sequences = 3, .context = kContext, .chunk = 8, .steps_in_flight = in_flight});
    Answer neighbour, poisoned, later;
    f.engine.submit(listen(ask({1, 2, 3}, 40), neighbour));
    f.engine.step();
    f.engine.step();
    f.engine.submit(listen(ask({4, kPoison}, 5), poisoned));
    f.engine.submit(listen(ask(tokens_from(3, 30), 5), later));
    run(f.engine);
    for (const Answer* a : {&neighbour, &poisoned, &later}) {
      EXPECT_EQ(a->finish, FinishReason::failed);  // the chunk of the third's prompt shared the step
      EXPECT_EQ(a->error, "the step was poisoned");
      EXPECT_EQ(a->last_events, 1);
    }
    std::vector<Answer> healthy(5);
    for (Answer& a : healthy) f.engine.submit(listen(ask({5, 6}, 20), a));
    run(f.engine);
    for (const Answer& a : healthy) EXPECT_EQ(a.tokens, expected(ask({5, 6}, 20), kContext).tokens);
    EXPECT_EQ(f.engine.pool().free_slots(), 3);
    EXPECT_EQ(f.engine.active(), 0);
  }
}

TEST(Failure, WhileAnOlderStepIsInFlightLeavesItsTokensAlone) {
  Fixture f({.max_sequences = 3, .context = kContext, .steps_in_flight = 2});
  Answer older, poisoned, newer;
  const SamplingParameters penalty{.presence_penalty = 0.3f};  // so that it has no rows in the steps that follow
  f.engine.submit(listen(ask({1, 2, 3}, 9, penalty), older));
  f.engine.step();
  f.engine.submit(listen(ask({kPoison}, 5), poisoned));
  f.engine.step();
  EXPECT_EQ(poisoned.finish, FinishReason::failed);
  EXPECT_TRUE(older.tokens.empty()) << "its step must still be in flight for the test to mean much";
  f.engine.submit(listen(ask({4}, 9), newer));
  run(f.engine);
  EXPECT_EQ(older.tokens, expected(ask({1, 2, 3}, 9, penalty), kContext).tokens);
  EXPECT_EQ(newer.tokens, expected(ask({4}, 9), kContext).tokens);
}

TEST(Failure, OfTheDeviceWhileWaitingIsTheRequestsFailure) {
  for (const int in_flight : {1, 3}) {
    Fixture f({.context = kContext, .steps_in_flight = in_flight});
    Answer lost, fine;
    f.engine.submit(listen(ask({1}, 20), lost));
    f.engine.submit(listen(ask({2}, 20), fine));
    f.backend.fail_next_wait = true;
    run(f.engine);
    EXPECT_EQ(lost.finish, FinishReason::failed);
    EXPECT_EQ(lost.error, "the device is gone");
    EXPECT_EQ(lost.last_events, 1);
    EXPECT_EQ(fine.tokens, expected(ask({2}, 20), kContext).tokens);
  }
}

TEST(Shutdown, EndsWhatIsLeftAsCancelled) {
  Answer running, waiting, unseen;
  bool handed_out = false;
  {
    Fixture f({.context = kContext, .steps_in_flight = 2});
    Request request = listen(ask({1}, 100), running);
    request.on_state = [&](SequenceState, std::vector<TokenId>) { handed_out = true; };
    f.engine.submit(std::move(request));
    f.engine.submit(listen(ask({2}, 100), waiting));
    for (int i = 0; i < 5; ++i) f.engine.step();
    f.engine.submit(listen(ask({2}, 100), unseen));
  }
  EXPECT_FALSE(handed_out) << "a state must not outlive its pool";
  for (const Answer* a : {&running, &waiting, &unseen}) {
    EXPECT_EQ(a->finish, FinishReason::cancelled);
    EXPECT_EQ(a->last_events, 1);
  }
}

TEST(Threads, MaySubmitAndCancelWhileTheEngineRuns) {
  Fixture f({.max_sequences = 4, .context = kContext, .chunk = 16, .steps_in_flight = 2});
  constexpr int kThreads = 4, kEach = 40;
  std::vector<Answer> answers(kThreads * kEach);
  std::atomic<int> ended{0};
  std::jthread loop([&](std::stop_token stop) { f.engine.run(stop); });
  {
    std::vector<std::jthread> clients;
    for (int t = 0; t < kThreads; ++t) {
      clients.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          const int n = t * kEach + i;
          Request request = listen(ask(tokens_from(n % 30, static_cast<std::size_t>(1 + n % 50)), 15),
                                   answers[static_cast<std::size_t>(n)]);
          request.on_token = [&, inner = request.on_token](const TokenEvent& e) {
            inner(e);
            if (e.finish != FinishReason::none) ++ended;
          };
          const RequestId id = f.engine.submit(std::move(request));
          if (i % 3 == 0) f.engine.cancel(id);
          if (i % 7 == 0) std::this_thread::yield();
        }
      });
    }
  }
  while (ended < kThreads * kEach) std::this_thread::yield();
  loop.request_stop();
  loop.join();
  for (int n = 0; n < kThreads * kEach; ++n) {
    const Answer& a = answers[static_cast<std::size_t>(n)];
    EXPECT_EQ(a.last_events, 1);
    const Answer right = expected(ask(tokens_from(n % 30, static_cast<std::size_t>(1 + n % 50)), 15), kContext);
    EXPECT_TRUE(n % kEach % 3 == 0 || a.tokens == right.tokens) << "only every third was cancelled";
    ASSERT_LE(a.tokens.size(), right.tokens.size());
    EXPECT_TRUE(std::equal(a.tokens.begin(), a.tokens.end(), right.tokens.begin()));
  }
  EXPECT_EQ(f.engine.active(), 0);
}

/// Asks and takes the state that is left behind.
struct Turn {
  Answer answer;
  std::optional<SequenceState> state;
  std::vector<TokenId> seen;

  Request listen_to(Request request) {
    request = listen(std::move(request), answer);
    request.on_state = [this](SequenceState s, std::vector<TokenId> tokens) {
      EXPECT_EQ(answer.last_events, 0) << "the state comes before the last event";
      state = std::move(s);
      seen = std::move(tokens);
    };
    return request;
  }
};

TEST(State, IsHandedOutExactlyAsLongAsItsTokens) {
  for (const int in_flight : {1, 2, 3}) {
    for (const bool stops : {false, true}) {
      Fixture f({.context = kContext, .chunk = 8, .steps_in_flight = in_flight});
      Request request = ask(tokens_from(1, 20), 30);
      const Answer right = expected(request, kContext);
      if (stops) request.stop_tokens = {right.tokens[11]};
      Turn turn;
      f.engine.submit(turn.listen_to(std::move(request)));
      run(f.engine);
      ASSERT_TRUE(turn.state);
      std::vector<TokenId> all = tokens_from(1, 20);
      all.insert(all.end(), turn.answer.tokens.begin(), turn.answer.tokens.end());
      all.pop_back();  // the last token isn't fed back
      EXPECT_EQ(turn.seen, all);
      EXPECT_EQ(turn.state->length(), static_cast<std::int64_t>(all.size()));
      EXPECT_EQ(f.engine.pool().free_slots(), 0) << "the state holds its slot";
      turn.state.reset();
      EXPECT_EQ(f.engine.pool().free_slots(), 1);
    }
  }
}

TEST(State, ASecondTurnFromItAnswersAsIfAllWereNew) {
  for (const int in_flight : {1, 3}) {
    Fixture f({.max_sequences = 2, .context = kContext, .chunk = 8, .steps_in_flight = in_flight});
    Turn turn;
    Answer neighbour;
    f.engine.submit(turn.listen_to(ask(tokens_from(1, 20), 30)));
    f.engine.submit(listen(ask({8}, 60), neighbour));
    run(f.engine);
    ASSERT_TRUE(turn.state);
    std::vector<TokenId> prompt = turn.seen;
    prompt.push_back(turn.answer.tokens.back());
    for (TokenId t : {7, 3, 9}) prompt.push_back(t);
    f.model.steps.clear();
    Turn second;
    Request request = second.listen_to(ask(prompt, 12, {.temperature = 1, .repetition_penalty = 1.2f}));
    const Answer right = expected(request, kContext);
    request.state = std::move(turn.state);
    f.engine.submit(std::move(request));
    run(f.engine);
    EXPECT_EQ(second.answer.tokens, right.tokens);
    EXPECT_EQ(f.model.steps[0].tokens, 4u) << "only what the state hasn't seen is computed";
    EXPECT_EQ(neighbour.tokens, expected(ask({8}, 60), kContext).tokens);
  }
}

TEST(State, ForksAnswerEachForItself) {
  Fixture f({.max_sequences = 2, .context = kContext, .spare_slots = 2, .steps_in_flight = 2});
  Turn turn;
  f.engine.submit(turn.listen_to(ask(tokens_from(5, 70), 10)));
  run(f.engine);
  ASSERT_TRUE(turn.state);
  std::vector<Answer> answers(3);
  for (TokenId last : {1, 2, 3}) {
    std::vector<TokenId> prompt = turn.seen;
    prompt.push_back(last);
    Request request = listen(ask(prompt, 20), answers[static_cast<std::size_t>(last - 1)]);
    request.state = last < 3 ? f.engine.pool().fork(*turn.state) : std::move(turn.state);
    ASSERT_TRUE(request.state);
    f.engine.submit(std::move(request));
  }
  run(f.engine);
  for (TokenId last : {1, 2, 3}) {
    std::vector<TokenId> prompt = turn.seen;
    prompt.push_back(last);
    EXPECT_EQ(answers[static_cast<std::size_t>(last - 1)].tokens, expected(ask(prompt, 20), kContext).tokens);
  }
  EXPECT_EQ(f.engine.pool().free_slots(), 4);
}

TEST(State, OfACancelledRequestIsHandedOutAndGoesOn) {
  for (const int in_flight : {1, 2, 3}) {
    for (const int steps : {2, 9}) {  // within the prompt, within the answer
      Fixture f({.max_sequences = 2, .context = kContext, .chunk = 8, .steps_in_flight = in_flight});
      Turn turn;
      Answer neighbour;
      Request cancelled = turn.listen_to(ask(tokens_from(1, 40), 90));
      cancelled.on_state = [&, take = cancelled.on_state](SequenceState state, std::vector<TokenId> tokens) {
        EXPECT_TRUE(f.backend.idle()) << "no step may have rows of a state that is handed out";
        take(std::move(state), std::move(tokens));
      };
      const RequestId id = f.engine.submit(std::move(cancelled));
      f.engine.submit(listen(ask({8}, 60), neighbour));
      for (int i = 0; i < steps; ++i) f.engine.step();
      f.engine.cancel(id);
      run(f.engine);
      EXPECT_EQ(turn.answer.finish, FinishReason::cancelled);
      ASSERT_TRUE(turn.state);
      ASSERT_EQ(static_cast<std::size_t>(turn.state->length()), turn.seen.size());
      EXPECT_EQ(turn.seen.size() < 40, steps == 2);
      std::vector<TokenId> prompt = turn.seen;
      prompt.push_back(9);
      Answer next;
      Request request = listen(ask(prompt, 7), next);
      request.state = std::move(turn.state);
      f.engine.submit(std::move(request));
      run(f.engine);
      EXPECT_EQ(next.tokens, expected(ask(prompt, 7), kContext).tokens);
      EXPECT_EQ(neighbour.tokens, expected(ask({8}, 60), kContext).tokens);
    }
  }
}

TEST(State, LongerThanThePromptIsRefused) {
  Fixture f({.context = kContext});
  Turn turn;
  f.engine.submit(turn.listen_to(ask({1, 2, 3}, 2)));
  run(f.engine);
  ASSERT_TRUE(turn.state);
  Request request = ask(turn.seen, 2);
  request.state = std::move(turn.state);
  EXPECT_THROW(f.engine.submit(std::move(request)), Error);
  EXPECT_EQ(f.engine.pool().free_slots(), 1);
}

}  // namespace
}  // namespace strata
