#include "state/state_pool.h"

#include <gtest/gtest.h>

#include <cstring>

#include "backend/registry/make_backend.h"

namespace strata {
namespace {

StateLayout small_layout() { return {{{{6, 4, 2, 3, 5}, {6, 4, 2, 3, 5}}, {{2, 8}}}, {DType::bf16, DType::bf16}}; }

class Pool : public testing::Test {
 protected:
  const std::unique_ptr<Backend> backend = make_backend({.name = "reference"});
  StatePool pool{*backend, small_layout(), 3, 6};

  float* ssm(const SequenceState& s) {
    return reinterpret_cast<float*>(pool.layers().ssm[1].data.get()) + s.slot() * 30;
  }
  std::byte* page(std::int32_t p) { return pool.layers().kv[0].data.get() + p * pool.layout().page_bytes(); }
};

TEST_F(Pool, LayoutCountsBytesOfEveryLayer) {
  EXPECT_EQ(pool.layout().conv_bytes(), 2 * 6 * 3 * 2);
  EXPECT_EQ(pool.layout().ssm_bytes(), 2 * 30 * 4);
  EXPECT_EQ(pool.layout().kv_bytes_per_token(), 2 * 2 * 8 * 2);
  EXPECT_EQ(StateLayout::pages_for(0), 0);
  EXPECT_EQ(StateLayout::pages_for(kPageSize), 1);
  EXPECT_EQ(StateLayout::pages_for(kPageSize + 1), 2);
}

TEST_F(Pool, AReusedSlotIsZeroed) {
  std::int32_t slot;
  {
    auto first = pool.acquire();
    slot = first->slot();
    ssm(*first)[29] = 7;
  }
  auto second = pool.acquire();
  ASSERT_EQ(second->slot(), slot);
  EXPECT_EQ(ssm(*second)[29], 0);
}

TEST_F(Pool, SlotsRunOutAndComeBack) {
  auto a = pool.acquire(), b = pool.acquire(), c = pool.acquire();
  EXPECT_FALSE(pool.acquire());
  b.reset();
  EXPECT_TRUE(pool.acquire());
}

TEST_F(Pool, ReserveTakesAllPagesOrNone) {
  auto a = pool.acquire(), b = pool.acquire();
  EXPECT_TRUE(pool.reserve(*a, 4 * kPageSize + 1));
  EXPECT_EQ(pool.free_pages(), 1);
  EXPECT_FALSE(pool.reserve(*b, 2 * kPageSize));
  EXPECT_EQ(pool.free_pages(), 1);
  EXPECT_EQ(b->capacity(), 0);
  EXPECT_TRUE(pool.reserve(*b, kPageSize));
  a.reset();
  EXPECT_EQ(pool.free_pages(), 5);
}

TEST_F(Pool, AForkSharesFullPagesAndCopiesTheRest) {
  auto a = pool.acquire();
  ASSERT_TRUE(pool.reserve(*a, kPageSize + 3));
  a->advance(kPageSize + 3);
  std::memset(page(a->pages()[1]), 5, static_cast<std::size_t>(pool.layout().page_bytes()));
  ssm(*a)[0] = 2;
  {
    auto b = pool.fork(*a);
    ASSERT_TRUE(b);
    EXPECT_EQ(b->length(), a->length());
    EXPECT_NE(b->slot(), a->slot());
    EXPECT_EQ(ssm(*b)[0], 2);
    EXPECT_EQ(b->pages()[0], a->pages()[0]);
    EXPECT_NE(b->pages()[1], a->pages()[1]);
    EXPECT_EQ(
        std::memcmp(page(b->pages()[1]), page(a->pages()[1]), static_cast<std::size_t>(pool.layout().page_bytes())), 0);
    EXPECT_EQ(pool.free_pages(), 3);
    a.reset();
    EXPECT_EQ(pool.free_pages(), 4) << "the shared page stays with the fork";
  }
  EXPECT_EQ(pool.free_pages(), 6);
  EXPECT_EQ(pool.free_slots(), 3);
}

TEST_F(Pool, AForkAtAPageBorderTakesNoPage) {
  auto a = pool.acquire();
  ASSERT_TRUE(pool.reserve(*a, 6 * kPageSize));
  a->advance(kPageSize);
  auto b = pool.fork(*a);
  ASSERT_TRUE(b);
  EXPECT_EQ(b->capacity(), kPageSize);
  EXPECT_FALSE(pool.reserve(*b, 1));
}

TEST_F(Pool, TrimGivesBackPagesThatNothingIsIn) {
  auto a = pool.acquire();
  ASSERT_TRUE(pool.reserve(*a, 5 * kPageSize));
  a->advance(kPageSize + 1);
  pool.trim(*a);
  EXPECT_EQ(a->capacity(), 2 * kPageSize);
  EXPECT_EQ(pool.free_pages(), 4);
}

TEST_F(Pool, MovingLeavesNothingBehind) {
  auto a = pool.acquire();
  SequenceState moved = std::move(*a);
  a.reset();
  EXPECT_EQ(pool.free_slots(), 2);
  moved = SequenceState();
  EXPECT_EQ(pool.free_slots(), 3);
}

}  // namespace
}  // namespace strata
