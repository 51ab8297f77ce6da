#include "state/prefix_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "backend/registry/make_backend.h"

namespace strata {
namespace {

StateLayout small_layout() { return {{{{6, 4, 2, 3, 5}}, {{2, 8}}}, {DType::bf16, DType::bf16}}; }

std::vector<TokenId> tokens(std::int64_t count, TokenId first = 0) {
  std::vector<TokenId> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

class Cache : public testing::Test {
 protected:
  /// A state that has seen so many tokens, marked with `mark`.
  SequenceState state(std::int64_t length, float mark = 0) {
    std::optional<SequenceState> s = pool.acquire();
    EXPECT_TRUE(s && pool.reserve(*s, length));
    s->advance(length);
    *slot(*s) = mark;
    return std::move(*s);
  }
  float* slot(const SequenceState& s) {
    return reinterpret_cast<float*>(pool.layers().ssm[0].data.get()) + s.slot() * 30;
  }

  const std::unique_ptr<Backend> backend = make_backend({.name = "reference"});
  StatePool pool{*backend, small_layout(), 4, 8};
  PrefixCache cache{pool};
};

TEST_F(Cache, FindsTheLongestProperBeginning) {
  cache.remember(tokens(3), "", state(3));
  cache.remember(tokens(70), "", state(70));
  cache.remember(tokens(9, 5), "", state(9));
  EXPECT_EQ(cache.find(tokens(100), "").length, 70);
  EXPECT_EQ(cache.find(tokens(71), "").length, 70);
  EXPECT_EQ(cache.find(tokens(70), "").length, 3);
  EXPECT_EQ(cache.find(tokens(3), "").length, 0);
  EXPECT_EQ(cache.find(tokens(20, 5), "").length, 9);
  EXPECT_EQ(cache.find({}, "").length, 0);
}

TEST_F(Cache, ResumesAForkAndKeepsItsOwn) {
  cache.remember(tokens(70), "", state(70, 7));
  std::optional<SequenceState> a = cache.resume(tokens(70), ""), b = cache.resume(tokens(70), "");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*slot(*a), 7);
  EXPECT_EQ(*slot(*b), 7);
  EXPECT_EQ(a->length(), 70);
  EXPECT_EQ(a->pages()[0], b->pages()[0]);
  EXPECT_NE(a->pages()[1], b->pages()[1]);
  EXPECT_EQ(cache.size(), 1);
  EXPECT_FALSE(cache.resume(tokens(69), ""));
}

TEST_F(Cache, ResumesTheStateItselfWhereThereIsNoSlotForTwo) {
  cache.remember(tokens(5), "", state(5, 7));
  std::vector<SequenceState> live;
  for (int i = 0; i < 3; ++i) live.push_back(state(1));
  const std::optional<SequenceState> moved = cache.resume(tokens(5), "");
  ASSERT_TRUE(moved);
  EXPECT_EQ(*slot(*moved), 7);
  EXPECT_EQ(cache.size(), 0);
  EXPECT_EQ(cache.find(tokens(6), "").miss, PrefixMiss::evicted);
}

TEST_F(Cache, DropsTheLeastRecentlyUsedForSlots) {
  for (TokenId i = 0; i < 4; ++i) cache.remember(tokens(2, i), "", state(2));
  EXPECT_EQ(pool.free_slots(), 0);
  cache.remember(tokens(2, 0), "", SequenceState(std::move(*cache.resume(tokens(2, 0), ""))));
  // That was a use of the first; the fork's slot was the second's.
  EXPECT_EQ(cache.find(tokens(9, 0), "").length, 2);
  EXPECT_EQ(cache.find(tokens(9, 1), "").length, 0);
  EXPECT_TRUE(cache.free_slots(2));
  EXPECT_EQ(cache.find(tokens(9, 2), "").length, 0);
  EXPECT_EQ(cache.find(tokens(9, 3), "").length, 2);
  EXPECT_FALSE(cache.free_slots(5));
  EXPECT_EQ(cache.size(), 2) << "what can't be had costs nothing";
}

TEST_F(Cache, GivesPagesBackButNotThoseOfTheLiving) {
  const SequenceState live = state(3 * kPageSize);
  ASSERT_TRUE(cache.remember_fork(tokens(3 * kPageSize), "", live));
  cache.remember(tokens(2 * kPageSize, 1), "", state(2 * kPageSize));
  EXPECT_EQ(pool.free_pages(), 3);
  EXPECT_EQ(cache.obtainable_pages(), 5);
  EXPECT_FALSE(cache.free_pages(6));
  EXPECT_EQ(cache.size(), 2);
  EXPECT_TRUE(cache.free_pages(4));
  EXPECT_EQ(cache.find(tokens(200), "").length, 3 * kPageSize) << "dropping it would give no page back";
  EXPECT_EQ(pool.free_pages(), 5);
}

TEST_F(Cache, CountsSharedPagesOnce) {
  const SequenceState live = state(3 * kPageSize);
  cache.remember_fork(tokens(3 * kPageSize), "", live);
  cache.remember_fork(tokens(3 * kPageSize), "x", live);
  EXPECT_EQ(cache.bytes(), 2 * pool.layout().slot_bytes() + 3 * pool.layout().page_bytes());
  cache.clear();
  EXPECT_EQ(cache.bytes(), 0);
  EXPECT_EQ(pool.free_slots(), 3);
}

TEST_F(Cache, TellsWhyThereIsNothing) {
  EXPECT_EQ(cache.find(tokens(9), "").miss, PrefixMiss::no_snapshot);
  cache.remember(tokens(100), "a", state(100));
  EXPECT_EQ(cache.find(tokens(101), "").miss, PrefixMiss::salt);
  EXPECT_EQ(cache.find(tokens(99), "").miss, PrefixMiss::diverged);
  EXPECT_EQ(cache.find(tokens(99, 1), "").miss, PrefixMiss::no_snapshot);
  cache.clear();
  EXPECT_EQ(cache.find(tokens(101), "a").miss, PrefixMiss::evicted);
  EXPECT_EQ(name_of(PrefixMiss::diverged), "diverged");
}

TEST_F(Cache, ForgetsWhatIsABeginningOfBadTokens) {
  cache.remember(tokens(3), "", state(3));
  cache.remember(tokens(3), "a", state(3));
  cache.remember(tokens(4, 1), "", state(4));
  cache.forget(tokens(10), "");
  EXPECT_EQ(cache.find(tokens(10), "").length, 0);
  EXPECT_EQ(cache.find(tokens(10), "a").length, 3);
  EXPECT_EQ(cache.find(tokens(10, 1), "").length, 4);
}

TEST_F(Cache, RememberingTwiceKeepsOne) {
  cache.remember(tokens(3), "", state(3, 1));
  cache.remember(tokens(3), "", state(3, 2));
  EXPECT_EQ(cache.size(), 1);
  EXPECT_EQ(pool.free_slots(), 3);
  EXPECT_TRUE(cache.remember_fork(tokens(3), "", state(3, 3)));
  EXPECT_EQ(*slot(*cache.resume(tokens(3), "")), 1);
}

TEST_F(Cache, RecordsOfTheDroppedAreBounded) {
  for (TokenId i = 0; i < 10000; ++i) {
    cache.remember(tokens(2, i), "", state(2));
    cache.clear();
  }
  EXPECT_EQ(cache.find(tokens(3, 9999), "").miss, PrefixMiss::evicted);
  EXPECT_EQ(cache.find(tokens(3, 0), "").miss, PrefixMiss::no_snapshot);
}

TEST_F(Cache, AStateGoesToTheHostAndComesBackWithTheSameBits) {
  HostState host;
  {
    const SequenceState a = state(kPageSize + 5, 9);
    for (const std::int32_t page : a.pages()) {
      std::memset(pool.layers().kv[0].data.get() + page * pool.layout().page_bytes(), 3 + page,
                  static_cast<std::size_t>(pool.layout().page_bytes()));
    }
    host = pool.download(a);
  }
  const SequenceState others[] = {state(1, 1), state(1, 2)};  // so that it comes to lie elsewhere
  const std::optional<SequenceState> b = pool.upload(host);
  ASSERT_TRUE(b);
  EXPECT_EQ(b->length(), kPageSize + 5);
  EXPECT_EQ(*slot(*b), 9);
  const HostState again = pool.download(*b);
  EXPECT_EQ(again.recurrent, host.recurrent);
  EXPECT_EQ(again.pages, host.pages);
  EXPECT_EQ(again.pages.size(), static_cast<std::size_t>(2 * pool.layout().page_bytes()));
  const SequenceState more = state(3 * kPageSize);
  EXPECT_FALSE(pool.upload(host)) << "there is a slot, but one page";
}

}  // namespace
}  // namespace strata
