// The pool does each item once, whatever the number of threads, and hands on a failure.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/error.h"
#include "base/processors.h"

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

// The processors that the calling thread may run on.
std::vector<int> own_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> own;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) own.push_back(i);
  return own;
}

// What each worker of a pool may run on; workers that no item came to are left out.
std::map<int, std::vector<int>> processors_of_workers(ThreadPool& pool) {
  std::map<int, std::vector<int>> of;
  std::mutex mutex;
  for (int round = 0; round < 50; ++round)
    pool.run(64, [&](std::int64_t, int worker) {
      {
        const std::lock_guard lock(mutex);
        of[worker] = own_processors();
      }
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    });
  return of;
}

TEST(ThreadPool, PinsNothingUnlessAsked) {
  ThreadPool pool(3);
  pool.pin_caller();
  for (const auto& [worker, own] : processors_of_workers(pool)) EXPECT_EQ(own.size(), processors().size()) << worker;
}

TEST(ThreadPool, PinsEachWorkerToAProcessorOfItsOwn) {
  std::thread([] {  // the test's own thread stays free
    ThreadPool pool(available_threads() + 1, true);
    pool.pin_caller();
    pool.pin_caller();
    const auto of = processors_of_workers(pool);
    EXPECT_EQ(own_processors(), std::vector<int>{processors()[0]});
    for (const auto& [worker, own] : of)
      EXPECT_EQ(own, std::vector<int>{processors()[static_cast<std::size_t>(worker) % processors().size()]}) << worker;
  })
      .join();
  EXPECT_EQ(own_processors().size(), processors().size());
}

TEST(Processors, AreThoseOfTheProcessEachOnce) {
  std::vector<int> sorted = processors();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, own_processors());
  EXPECT_EQ(available_threads(), static_cast<int>(sorted.size()));
}

TEST(ThreadPool, RefusesAnImpossibleSize) { EXPECT_THROW(ThreadPool(0), Error); }

}  // namespace
}  // namespace strata
