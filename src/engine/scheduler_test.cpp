// Claims about who runs next.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>

namespace strata {
namespace {

using Rows = std::vector<ScheduledRows>;

TEST(Scheduler, NothingToDoIsAnEmptyStep) {
  Scheduler scheduler(8, 2);
  EXPECT_EQ(scheduler.next(), Rows{});
  scheduler.add(1, 3);
  scheduler.finish(1);
  EXPECT_EQ(scheduler.next(), Rows{});
}

TEST(Scheduler, APromptIsCutIntoChunksAndOnlyItsEndSamples) {
  Scheduler scheduler(4, 1);
  scheduler.add(1, 9);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}}));
}

TEST(Scheduler, DecodesComeBeforePromptsWhateverTheirArrival) {
  Scheduler scheduler(4, 3);
  scheduler.add(1, 10);
  scheduler.add(2, 1);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 4, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 2, true}, {2, 1, true}}));
  scheduler.add(3, 10);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 1, true}, {3, 2, false}}));
}

TEST(Scheduler, PromptsShareAStepInOrderOfArrival) {
  Scheduler scheduler(8, 4);
  scheduler.add(1, 3);
  scheduler.add(2, 4);
  scheduler.add(3, 5);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 3, true}, {2, 4, true}, {3, 1, false}}));
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 1, true}, {3, 4, true}}));
}

TEST(Scheduler, NoMoreThanMaxSequencesRunAndTheOthersWaitInOrder) {
  Scheduler scheduler(8, 2);
  for (RequestId id = 1; id <= 4; ++id) scheduler.add(id, 1);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 1, true}}));
  scheduler.finish(2);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {3, 1, true}}));
  scheduler.finish(1);
  EXPECT_EQ(scheduler.next(), (Rows{{3, 1, true}, {4, 1, true}}));
}

TEST(Scheduler, AHeldDecodeIsLeftOutAndComesBack) {
  Scheduler scheduler(8, 2);
  scheduler.add(1, 1);
  scheduler.add(2, 1);
  scheduler.next();
  scheduler.hold(1, true);
  EXPECT_EQ(scheduler.next(), (Rows{{2, 1, true}}));
  scheduler.hold(1, false);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 1, true}, {2, 1, true}}));
}

TEST(Scheduler, FinishingAnUnknownRequestChangesNothing) {
  Scheduler scheduler(8, 2);
  scheduler.add(1, 2);
  scheduler.finish(7);
  EXPECT_EQ(scheduler.next(), (Rows{{1, 2, true}}));
}

TEST(Scheduler, NobodyStarvesAndTheBudgetHolds) {
  constexpr std::int64_t kBudget = 5, kSequences = 5;
  Scheduler scheduler(kBudget, kSequences);
  std::map<RequestId, std::int64_t> answered;
  RequestId next_id = 1;
  for (int i = 0; i < 5; ++i) scheduler.add(next_id++, 1);
  for (int step = 0; step < 400; ++step) {
    if (step % 3 == 0 && next_id < 60) scheduler.add(next_id++, 1 + step % 17);
    std::int64_t tokens = 0;
    for (const ScheduledRows& rows : scheduler.next()) {
      tokens += rows.count;
      if (rows.samples && ++answered[rows.request] == 6) scheduler.finish(rows.request);
    }
    ASSERT_LE(tokens, kBudget);
  }
  for (RequestId id = 1; id < next_id; ++id) EXPECT_EQ(answered[id], 6) << "request " << id;
}

}  // namespace
}  // namespace strata
