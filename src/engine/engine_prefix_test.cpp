// Claims about remembered states: an answer that starts from one has the bits of one that starts from nothing.
#include <gtest/gtest.h>

#include <random>

#include "engine/engine_test_requests.h"

namespace strata {
namespace {

struct Fixture {
  explicit Fixture(const EngineOptions& options) : engine(model, backend, options) {}

  /// Asks, checks that the answer is that of a cold engine, and returns how many tokens were taken from a state.
  std::int64_t ask_warm(Request request, Answer* keep = nullptr) {
    Answer answer;
    std::int64_t cached = -1;
    const Answer right = expected(request, kContext);
    request = listen(std::move(request), answer);
    request.on_start = [&](std::int64_t tokens) { cached = tokens; };
    engine.submit(std::move(request));
    run(engine);
    EXPECT_EQ(answer.tokens, right.tokens);
    EXPECT_EQ(answer.finish, right.finish);
    if (keep) *keep = answer;
    return cached;
  }

  std::int64_t misses(PrefixMiss reason) const {
    return engine.stats().prefix_misses[static_cast<std::size_t>(reason)];
  }

  FakeBackend backend;
  FakeModel model;
  Engine engine;
};

std::vector<TokenId> joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Request with_snapshots(std::vector<TokenId> prompt, std::int64_t max_tokens, std::vector<std::int64_t> snapshots) {
  Request request = ask(std::move(prompt), max_tokens);
  request.snapshots = std::move(snapshots);
  return request;
}

TEST(Prefix, ALaterPromptStartsFromTheLongestRememberedBeginning) {
  for (const int in_flight : {1, 3}) {
    Fixture f({.context = kContext, .kv_tokens = 800, .chunk = 16, .spare_slots = 4, .steps_in_flight = in_flight});
    const std::vector<TokenId> chat = tokens_from(1, 100);
    EXPECT_EQ(f.ask_warm(with_snapshots(chat, 5, {100, 10, 64, 10})), 0);
    EXPECT_EQ(f.engine.stats().snapshots, 3);
    f.model.steps.clear();
    EXPECT_EQ(f.ask_warm(ask(joined(chat, {3, 4}), 9)), 100);
    EXPECT_EQ(f.model.steps[0].tokens, 2u) << "only what the state hasn't seen is computed";
    EXPECT_EQ(f.ask_warm(ask(chat, 9)), 64) << "a token must be left to ask for the next one";
    EXPECT_EQ(f.ask_warm(ask(joined({chat.begin(), chat.begin() + 40}, {1, 1}), 9)), 10);
    EXPECT_EQ(f.ask_warm(ask({chat.begin(), chat.begin() + 10}, 9)), 0);
    EXPECT_EQ(f.ask_warm(ask(joined(chat, {3, 4}), 9)), 100) << "a remembered state can be used again";
    const EngineStats stats = f.engine.stats();
    EXPECT_EQ(stats.prefix_queries, 6);
    EXPECT_EQ(stats.prefix_hits, 4);
    EXPECT_EQ(stats.cached_prompt_tokens, 100 + 64 + 10 + 100);
    EXPECT_EQ(stats.prompt_tokens, 100 + 2 + 36 + 32 + 10 + 2);
  }
}

TEST(Prefix, TheFinishedStateIsRememberedWithAllButTheLastToken) {
  for (const int in_flight : {1, 3}) {
    for (const bool stops : {false, true}) {
      Fixture f({.context = kContext, .spare_slots = 1, .steps_in_flight = in_flight});
      Request request = ask(tokens_from(1, 70), 12);
      if (stops) request.stop_tokens = {expected(request, kContext).tokens[7]};
      request.remember_end = true;
      const std::vector<TokenId> prompt = request.prompt;
      Answer first;
      f.ask_warm(std::move(request), &first);
      const std::vector<TokenId> next = joined(joined(prompt, first.tokens), {1, 2, 3});
      EXPECT_EQ(f.ask_warm(ask(next, 8)), std::ssize(prompt) + std::ssize(first.tokens) - 1);
    }
  }
}

TEST(Prefix, WithNoSlotToSpareTheStateItselfMovesOn) {
  Fixture f({.context = kContext});
  Request request = ask(tokens_from(1, 70), 12);
  request.remember_end = true;
  request.snapshots = {30};
  Answer first;
  f.ask_warm(std::move(request), &first);
  EXPECT_EQ(f.engine.stats().snapshots_skipped, 1);
  const std::vector<TokenId> next = joined(joined(tokens_from(1, 70), first.tokens), {1});
  EXPECT_EQ(f.ask_warm(ask(next, 8)), 81);
  EXPECT_EQ(f.engine.stats().snapshots, 0);
  EXPECT_EQ(f.ask_warm(ask(next, 8)), 0);
  EXPECT_EQ(f.misses(PrefixMiss::evicted), 1);
}

TEST(Prefix, AMissIsCountedByItsReason) {
  Fixture f({.context = kContext, .kv_tokens = 800, .spare_slots = 1});
  const std::vector<TokenId> chat = tokens_from(1, 100);
  Request request = with_snapshots(chat, 5, {90});
  request.cache_salt = "a";
  f.ask_warm(std::move(request));
  EXPECT_EQ(f.misses(PrefixMiss::no_snapshot), 1);
  EXPECT_EQ(f.ask_warm(ask(chat, 5)), 0);
  EXPECT_EQ(f.misses(PrefixMiss::salt), 1);
  EXPECT_EQ(f.ask_warm(ask(joined({chat.begin(), chat.begin() + 80}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), 5)), 0);
  EXPECT_EQ(f.misses(PrefixMiss::diverged), 1);
  EXPECT_EQ(f.ask_warm(ask({7, 7}, 5)), 0);
  EXPECT_EQ(f.misses(PrefixMiss::no_snapshot), 2);
  f.ask_warm(with_snapshots(tokens_from(2, 50), 5, {50}));
  f.ask_warm(with_snapshots(tokens_from(3, 50), 5, {50}));
  Request again = ask(chat, 5);
  again.cache_salt = "a";
  EXPECT_EQ(f.ask_warm(std::move(again)), 0);
  EXPECT_EQ(f.misses(PrefixMiss::evicted), 1);
}

TEST(Prefix, ACancelledPrefillKeepsTheSnapshotThatWasTaken) {
  Fixture f({.context = kContext, .chunk = 16, .spare_slots = 1});
  Answer cancelled;
  const RequestId id = f.engine.submit(listen(with_snapshots(tokens_from(1, 120), 5, {40}), cancelled));
  for (int i = 0; i < 4; ++i) f.engine.step();
  f.engine.cancel(id);
  run(f.engine);
  EXPECT_EQ(cancelled.finish, FinishReason::cancelled);
  EXPECT_EQ(f.engine.stats().cancelled_in_prefill, 1);
  EXPECT_EQ(f.ask_warm(ask(tokens_from(1, 120), 5)), 40);
}

TEST(Prefix, LiveSequencesTakeTheMemoryOfWhatIsRemembered) {
  Fixture f({.max_sequences = 2, .context = kContext, .kv_tokens = 4 * kPageSize, .spare_slots = 8});
  for (TokenId i = 0; i < 4; ++i) f.ask_warm(with_snapshots(tokens_from(i, 70), 3, {60}));
  EXPECT_EQ(f.engine.stats().snapshots, 2) << "the last request's second page took the place of the first two";
  EXPECT_EQ(f.ask_warm(ask(tokens_from(9, 10), 139)), 0);
  EXPECT_LE(f.engine.stats().snapshots, 1);
  EXPECT_GE(f.engine.stats().snapshots_evicted, 3);
}

TEST(Prefix, AnswersToOnePromptComputeItOnce) {
  for (const int in_flight : {1, 2, 3}) {
    for (const std::int64_t spare : {0, 3}) {
      Fixture f(
          {.max_sequences = 4, .context = kContext, .chunk = 16, .spare_slots = spare, .steps_in_flight = in_flight});
      const std::vector<TokenId> prompt = tokens_from(2, 100);
      // Where no slot is spare, the last that may run takes the remembered state itself.
      std::vector<Answer> answers(spare == 0 ? 4 : 6);
      std::vector<std::int64_t> cached(answers.size(), -1);
      RequestId first = 0;
      for (std::size_t i = 0; i < answers.size(); ++i) {
        SamplingParameters sampling;
        sampling.temperature = 1;
        sampling.seed = i;
        Request request = listen(ask(prompt, 20, sampling), answers[i]);
        request.on_start = [&cached, i](std::int64_t n) { cached[i] = n; };
        if (i == 0) request.snapshots = {40, std::ssize(prompt) - 1};
        if (i > 0) request.starts_after = first;
        const RequestId id = f.engine.submit(std::move(request));
        if (i == 0) first = id;
      }
      run(f.engine);
      EXPECT_EQ(f.engine.stats().prompt_tokens, std::ssize(prompt) + std::ssize(answers) - 1)
          << "the last token is computed for each";
      for (std::size_t i = 0; i < answers.size(); ++i) {
        SamplingParameters sampling;
        sampling.temperature = 1;
        sampling.seed = i;
        EXPECT_EQ(answers[i].tokens, expected(ask(prompt, 20, sampling), kContext).tokens);
        EXPECT_EQ(cached[i], i == 0 ? 0 : std::ssize(prompt) - 1);
      }
    }
  }
}

TEST(Prefix, WhoStartsAfterOneThatEndsEarlyComputesThePromptAlone) {
  for (const int steps : {0, 1, 3}) {
    Fixture f({.max_sequences = 4, .context = kContext, .chunk = 16});
    const std::vector<TokenId> prompt = tokens_from(2, 100);
    Answer first, second, third;
    Request request = listen(ask(prompt, 5), first);
    request.snapshots = {99};
    const RequestId id = f.engine.submit(std::move(request));
    request = listen(ask(prompt, 5), second);
    request.starts_after = id;
    f.engine.submit(std::move(request));
    for (int i = 0; i < steps; ++i) f.engine.step();
    f.engine.cancel(id);
    request = listen(ask(prompt, 5), third);
    request.starts_after = id;
    f.engine.submit(std::move(request));
    run(f.engine);
    EXPECT_EQ(first.finish, FinishReason::cancelled);
    EXPECT_EQ(second.tokens, expected(ask(prompt, 5), kContext).tokens);
    EXPECT_EQ(third.tokens, second.tokens);
  }
}

TEST(Prefix, AFailureOfTheDeviceForgetsWhatCannotBeTrusted) {
  Fixture f({.context = kContext, .spare_slots = 2});
  f.ask_warm(with_snapshots(tokens_from(1, 50), 5, {20}));
  f.backend.fail_next_wait = true;
  Answer lost;
  f.engine.submit(listen(with_snapshots(tokens_from(2, 50), 5, {20}), lost));
  run(f.engine);
  EXPECT_EQ(lost.finish, FinishReason::failed);
  EXPECT_EQ(f.engine.stats().snapshots, 0);
  EXPECT_EQ(f.ask_warm(ask(tokens_from(2, 50), 5)), 0);
}

TEST(Prefix, RefusesSnapshotsOutsideThePrompt) {
  Fixture f({.context = kContext});
  for (const std::int64_t length : {0, 4}) {
    try {
      f.engine.submit(with_snapshots({1, 2, 3}, 1, {length}));
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.what(), "a length of snapshots is " + std::to_string(length) + "; it must be from 1 to 3");
    }
  }
}

/// Everything at once: chats that share beginnings, in a pool that is too small, with priorities, snapshots, salts and
/// cancels. Whatever is parked, resumed, evicted or moved: every answer is that of a cold engine.
TEST(Prefix, AndParkingAndPrioritiesTogetherChangeNoAnswer) {
  std::int64_t hits = 0, preemptions = 0, evicted = 0;
  for (std::uint32_t seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::int64_t>(random() % n); };
    Fixture f({.max_sequences = 2 + below(5),
               .context = kContext,
               .kv_tokens = (3 + below(6)) * kPageSize,
               .chunk = 6 + below(40),
               .mixed_chunk = 1 + below(20),
               .spare_slots = below(4),
               .steps_in_flight = 1 + static_cast<int>(below(3))});
    struct Asked {
      Request request;  // for what is right
      Answer answer;
      RequestId id = 0;
      std::int64_t starts = 0;
      bool cancelled = false;
    };
    std::vector<std::unique_ptr<Asked>> all;
    for (int i = 0; i < 25; ++i) {
      auto asked = std::make_unique<Asked>();
      std::vector<TokenId> prompt =
          tokens_from(static_cast<TokenId>(below(3)), static_cast<std::size_t>(1 + below(90)));
      if (!all.empty() && below(2) == 0) {  // a later turn of an earlier chat
        const Asked& earlier = *all[static_cast<std::size_t>(below(static_cast<std::uint32_t>(all.size())))];
        prompt = joined(joined(earlier.request.prompt, earlier.answer.tokens), {static_cast<TokenId>(below(30))});
      }
      prompt.resize(std::min<std::size_t>(prompt.size(), 120));
      const auto make = [&] {
        SamplingParameters p;
        p.temperature = i % 2 ? 0.8f : 0.0f;
        if (i % 5 == 4) p.repetition_penalty = 1.1f;
        p.seed = static_cast<std::uint64_t>(i);
        return ask(prompt, 1 + i * 37 % 110, p);
      };
      asked->request = make();
      Request request = listen(make(), asked->answer);
      request.priority = below(3);
      if (below(4) == 0) request.cache_salt = "s";
      for (std::int64_t n = below(3); n > 0; --n) {
        request.snapshots.push_back(1 + below(static_cast<std::uint32_t>(prompt.size())));
      }
      request.remember_end = below(2) == 0;
      request.on_start = [&starts = asked->starts](std::int64_t) { ++starts; };
      asked->id = f.engine.submit(std::move(request));
      all.push_back(std::move(asked));
      for (std::int64_t n = below(12); n > 0; --n) f.engine.step();
      if (below(8) == 0) {
        Asked& victim = *all[static_cast<std::size_t>(below(static_cast<std::uint32_t>(all.size())))];
        f.engine.cancel(victim.id);
        victim.cancelled = true;
      }
    }
    run(f.engine);
    for (const auto& asked : all) {
      const Answer right = expected(asked->request, kContext);
      EXPECT_EQ(asked->answer.last_events, 1);
      if (asked->cancelled && asked->answer.finish == FinishReason::cancelled) {
        ASSERT_LE(asked->answer.tokens.size(), right.tokens.size());
        EXPECT_TRUE(std::equal(asked->answer.tokens.begin(), asked->answer.tokens.end(), right.tokens.begin()));
        continue;
      }
      EXPECT_EQ(asked->starts, 1);
      EXPECT_EQ(asked->answer.finish, right.finish);
      ASSERT_EQ(asked->answer.tokens, right.tokens) << "seed " << seed << ", request " << asked->id;
    }
    const EngineStats stats = f.engine.stats();
    EXPECT_EQ(stats.waiting, 0);
    EXPECT_EQ(stats.parked, 0);
    EXPECT_EQ(stats.slots_used, stats.snapshots);
    hits += stats.prefix_hits;
    preemptions += stats.preemptions;
    evicted += stats.snapshots_evicted;
  }
  EXPECT_GT(hits, 100);
  EXPECT_GT(preemptions, 100);
  EXPECT_GT(evicted, 100);
}

}  // namespace
}  // namespace strata
