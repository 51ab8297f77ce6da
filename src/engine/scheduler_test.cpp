// Claims about who runs next.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace strata {
namespace {

using Rows = std::vector<ScheduledRows>;

TEST(Scheduler, NothingToDoIsAnEmptyStep) {
  Scheduler scheduler({8}, 2);
  EXPECT_EQ(scheduler.next(), Rows{});
  scheduler.add(1, {3});
  scheduler.finish(1);
  EXPECT_EQ(scheduler.next(), Rows{});
}

TEST(Scheduler, APromptIsCutIntoChunksAndOnlyItsEndSamples) {
  Scheduler scheduler({4}, 1);
  scheduler.add(1, {9});
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}}));
}

TEST(Scheduler, DecodesComeBeforePromptsWhateverTheirArrival) {
  Scheduler scheduler({4}, 3);
  scheduler.add(1, {10});
  scheduler.add(2, {1});
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}, {1, 3, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}, {1, 3, false}}));
  scheduler.add(3, {1});
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}, {3, 1, true}, {1, 2, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}, {3, 1, true}, {1, 2, true}}));
}

TEST(Scheduler, TwoPromptsThatWaitShareEveryStep) {
  Scheduler scheduler({8}, 4);
  scheduler.add(1, {100});
  scheduler.add(2, {100});
  for (int step = 0; step < 20; ++step) {
    const Rows rows = scheduler.next();
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0].count, 4);
    EXPECT_EQ(rows[1].count, 4);
  }
}

TEST(Scheduler, TheShortestThatIsLeftComesFirstAndGivesWhatItCannotUse) {
  Scheduler scheduler({8}, 4);
  scheduler.add(1, {50});
  scheduler.add(2, {3});
  scheduler.add(3, {9});
  EXPECT_EQ(scheduler.next(), (Rows{{2, 3, true}, {3, 5, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}, {3, 4, true}, {1, 3, false}}));
}

TEST(Scheduler, ALongPromptIsNotStarvedByShortOnes) {
  Scheduler scheduler({64}, 64);
  scheduler.add(1, {3000});
  RequestId next = 2;
  std::set<RequestId> short_ones;
  int steps = 0;
  for (bool ended = false; !ended; ++steps) {
    // As many tokens arrive as a step can have, again and again.
    for (int i = 0; i < 4; ++i) {
      short_ones.insert(next);
      scheduler.add(next++, {16});
    }
    for (const ScheduledRows& rows : scheduler.next()) {
      ended |= rows.request == 1 && rows.samples;
      if (rows.samples) scheduler.finish(rows.request);
    }
    ASSERT_LT(steps, 400) << "alone it takes 47 steps";
  }
}

TEST(Scheduler, WhileSomeDecodeAPromptsShareOfAStepIsSmall) {
  Scheduler scheduler({.tokens = 100, .mixed_prompts = 10}, 4);
  scheduler.add(1, {1});
  scheduler.add(2, {250});
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 99, false}})) << "nobody waits for a next token yet";
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 10, false}}));
  scheduler.hold(1, true);
  EXPECT_EQ(scheduler.next(), (Rows{{2, 10, false}})) << "a held decode waits for the step's end, too";
  scheduler.finish(1);
  EXPECT_EQ(scheduler.next(), (Rows{{2, 100, false}}));
}

TEST(Scheduler, AChunkEndsWhereThePromptIsToBeCut) {
  Scheduler scheduler({10}, 2);
  scheduler.add(1, {.tokens = 25, .cuts = {4, 20, 25}});
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 10, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 6, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 5, true}}));
}

TEST(Scheduler, PromptsThatWantAllLogitsFitIntoTheRowsThatOthersLeave) {
  Scheduler scheduler({.tokens = 100, .logit_rows = 10}, 4);
  scheduler.add(1, {1});
  scheduler.next();
  scheduler.add(2, {.tokens = 20, .all_logits = true});
  scheduler.add(3, {30});
  scheduler.add(4, {.tokens = 40, .all_logits = true});
  const Rows rows = scheduler.next();
  EXPECT_EQ(rows, (Rows{{1, 1, true}, {2, 7, false}, {3, 30, true}, {4, 1, false}})) << "7 + 1 + 1 + the decode's";
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {3, 1, true}, {2, 7, false}, {4, 1, false}}));
}

TEST(Scheduler, NoMoreThanMaxSequencesRunAndTheOthersWaitInOrder) {
  Scheduler scheduler({8}, 2);
  for (RequestId id = 1; id <= 4; ++id) scheduler.add(id, {1});
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 1, true}}));
  scheduler.finish(2);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {3, 1, true}}));
  scheduler.finish(1);
  EXPECT_EQ(scheduler.next(), (Rows{{3, 1, true}, {4, 1, true}}));
}

TEST(Scheduler, AHeldDecodeIsLeftOutAndComesBack) {
  Scheduler scheduler({8}, 2);
  scheduler.add(1, {1});
  scheduler.add(2, {1});
  scheduler.next();
  scheduler.hold(1, true);
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}}));
  scheduler.hold(1, false);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 1, true}}));
}

TEST(Scheduler, FinishingAnUnknownRequestChangesNothing) {
  Scheduler scheduler({8}, 2);
  scheduler.add(1, {2});
  scheduler.finish(7);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 2, true}}));
}

TEST(Scheduler, NobodyStarvesAndTheBudgetsHold) {
  constexpr std::int64_t kTokens = 5, kSequences = 5, kRows = 7;
  Scheduler scheduler({.tokens = kTokens, .mixed_prompts = 3, .logit_rows = kRows}, kSequences);
  std::map<RequestId, std::int64_t> answered;
  RequestId next_id = 1;
  for (int i = 0; i < 5; ++i) scheduler.add(next_id++, {1});
  for (int step = 0; step < 400; ++step) {
    if (step % 3 == 0 && next_id < 60) {
      const bool all_logits = next_id % 4 == 0;
      scheduler.add(next_id++, {.tokens = 1 + step % 17, .all_logits = all_logits});
    }
    std::int64_t tokens = 0, logit_rows = 0;
    for (const ScheduledRows& rows : scheduler.next()) {
      const bool prompt_with_logits = rows.request % 4 == 0 && rows.request > 5 && answered[rows.request] == 0;
      tokens += rows.count;
      logit_rows += prompt_with_logits ? rows.count : rows.samples;
      if (rows.samples && ++answered[rows.request] == 6) scheduler.finish(rows.request);
    }
    ASSERT_LE(tokens, kTokens);
    ASSERT_LE(logit_rows, kRows);
  }
  for (RequestId id = 1; id < next_id; ++id) EXPECT_EQ(answered[id], 6) << "request " << id;
}

}  // namespace
}  // namespace strata
