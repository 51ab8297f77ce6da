// Byte pair encoding against its definition, done the slow way.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <numeric>
#include <random>

namespace strata {
namespace {

using Merges = std::map<std::pair<TokenId, TokenId>, BpeMerge>;

std::array<TokenId, 256> bytes_as_ids() {
  std::array<TokenId, 256> ids;
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

Bpe make_bpe(const Merges& merges) {
  BpeMergeTable table(merges.size());
  for (const auto& [pair, merge] : merges) table.insert(pair.first, pair.second, merge);
  return Bpe(bytes_as_ids(), std::move(table));
}

std::vector<TokenId> by_definition(const Merges& merges, const std::string& word) {
  std::vector<TokenId> ids(word.begin(), word.end());
  for (;;) {
    const BpeMerge* best = nullptr;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = merges.find({ids[i], ids[i + 1]});
      if (found == merges.end() || (best != nullptr && found->second.rank >= best->rank)) continue;
      best = &found->second;
      at = i;
    }
    if (best == nullptr) return ids;
    ids[at] = best->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, ShortAndLongWordsAreMergedByRankThenFromTheLeft) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    // Random merges over few letters, so that they overlap in all ways.
    Merges merges;
    TokenId next = 256;
    std::vector<TokenId> known = {'a', 'b', 'c'};
    for (std::uint32_t rank = 0; rank < 40; ++rank) {
      const TokenId left = known[random() % known.size()], right = known[random() % known.size()];
      if (!merges.emplace(std::pair(left, right), BpeMerge{rank, next}).second) continue;
      known.push_back(next++);
    }
    const Bpe bpe = make_bpe(merges);
    for (const std::size_t size : {0, 1, 2, 3, 7, 47, 48, 49, 50, 200}) {
      std::string word;
      while (word.size() < size) word += static_cast<char>('a' + random() % 3);
      std::vector<TokenId> ids;
      bpe.encode(word, ids);
      EXPECT_EQ(ids, by_definition(merges, word)) << word;
    }
  }
}

TEST(BpeMergeTable, ARepeatedPairTakesTheLaterRank) {
  BpeMergeTable table(2);
  table.insert(1, 2, {0, 3});
  table.insert(1, 2, {1, 4});
  EXPECT_EQ(table.find(1, 2)->result, 4);
  EXPECT_EQ(table.find(2, 1), nullptr);
}

}  // namespace
}  // namespace strata
