// How products of prompts are cut into pieces: what needs no GPU.
#include <gtest/gtest.h>

#include "backend/cuda/kernels/prefill_linear.h"

namespace strata::cuda {
namespace {

constexpr std::int64_t kClusters = 66;  // of an H100

TEST(PrefillTokens, LargeMatricesGetTheLargestPieces) {
  EXPECT_EQ(prefill_tokens(8192, 41, kClusters, true), 256);
  EXPECT_EQ(prefill_tokens(8192, 41, kClusters, false), 160);
}

TEST(PrefillTokens, SmallerPiecesWhereTheLastRoundWouldBeNearlyEmpty) {
  // 11 pieces of features: with 256 tokens 88 pieces for 66 clusters, two rounds; with 192 as many of less.
  EXPECT_EQ(prefill_tokens(2048, 11, kClusters, true), 192);
  EXPECT_EQ(prefill_tokens(65, 11, kClusters, true), 64) << "one round either way";
}

TEST(PrefillTokens, NoMoreThanAnItemHolds) {
  for (const bool fast : {false, true})
    for (std::int64_t rows = 65; rows < 20000; rows = rows * 5 / 4)
      for (const std::int64_t pieces : {1, 2, 8, 41, 512}) {
        const int tokens = prefill_tokens(rows, pieces, kClusters, fast);
        EXPECT_GE(tokens, 64);
        EXPECT_LE(tokens, prefill_item_rows(fast));
      }
}

}  // namespace
}  // namespace strata::cuda
