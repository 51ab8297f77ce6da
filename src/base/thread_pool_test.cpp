// The pool does each item once, whatever the number of threads, and hands on a failure.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"

namespace strata {
namespace {

TEST(ThreadPool, DoesEveryItemOnceAtAnySize) {
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> done(round % 37);
      pool.run(static_cast<std::int64_t>(done.size()), [&](std::int64_t i, int worker) {
        EXPECT_LT(worker, threads);
        ++done[static_cast<std::size_t>(i)];
      });
      for (const auto& d : done) EXPECT_EQ(d, 1);
    }
  }
}

TEST(ThreadPool, ThrowsWhatAnItemThrewAndGoesOn) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run(10,
                        [](std::int64_t i, int) {
                          if (i == 7) throw Error(ErrorCode::failure, "seven");
                        }),
               Error);
  std::atomic<int> done = 0;
  pool.run(10, [&](std::int64_t, int) { ++done; });
  EXPECT_EQ(done, 10);
}

TEST(ThreadPool, FewItemsStayWithTheCaller) {
  ThreadPool pool(3);
  for (const std::int64_t count : {0, 1, 7, 8})
    pool.run(
        count, [](std::int64_t, int worker) { EXPECT_EQ(worker, 0); }, 8);
}

TEST(ThreadPool, DoesEveryItemOnceAfterItsWorkersSlept) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::vector<std::atomic<int>> done(100);
    pool.run(100, [&](std::int64_t i, int) { ++done[static_cast<std::size_t>(i)]; });
    for (const auto& d : done) EXPECT_EQ(d, 1);
  }
}

TEST(ThreadPool, RefusesAnImpossibleSize) { EXPECT_THROW(ThreadPool(0), Error); }

}  // namespace
}  // namespace strata
