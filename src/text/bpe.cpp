#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <queue>
#include <utility>

#include "base/check.h"

namespace strata {
namespace {

// Up to here a scan for the lowest rank beats a heap.
constexpr std::size_t kShortWord = 48;
constexpr std::uint32_t kNoRank = UINT32_MAX;
constexpr std::uint64_t kEmpty = UINT64_MAX;  // ids are not negative, so no pair has this key

std::uint64_t key_of(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

BpeMergeTable::BpeMergeTable(std::size_t expected_size)
    : shift_(64 - std::countr_zero(std::bit_ceil(std::max<std::size_t>(2 * expected_size, 16)))),
      slots_(std::size_t{1} << (64 - shift_), Slot{kEmpty, {kNoRank, 0}}) {}

std::size_t BpeMergeTable::slot_of(std::uint64_t key) const {
  // Fibonacci hashing; the halves are mixed first, for the high bits of a product see all lower ones.
  return ((key ^ key >> 29) * 0x9E3779B97F4A7C15) >> shift_;
}

void BpeMergeTable::insert(TokenId left, TokenId right, BpeMerge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t slot = slot_of(key);
  for (std::size_t probes = 0; slots_[slot].key != kEmpty && slots_[slot].key != key; ++probes) {
    CHECK(probes < slots_.size(), "more merges than announced");
    slot = (slot + 1) & (slots_.size() - 1);
  }
  slots_[slot] = {key, merge};
}

const BpeMerge* BpeMergeTable::find(TokenId left, TokenId right) const {
  const std::uint64_t key = key_of(left, right);
  for (std::size_t slot = slot_of(key); slots_[slot].key != kEmpty; slot = (slot + 1) & (slots_.size() - 1))
    if (slots_[slot].key == key) return &slots_[slot].merge;
  return nullptr;
}

Bpe::Bpe(std::span<const TokenId, 256> byte_tokens, BpeMergeTable merges)
    : byte_tokens_(byte_tokens.begin(), byte_tokens.end()), merges_(std::move(merges)) {}

void Bpe::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (word.size() <= kShortWord) {
    encode_short(word, out);
  } else {
    encode_long(word, out);
  }
}

void Bpe::encode_short(std::string_view word, std::vector<TokenId>& out) const {
  std::array<TokenId, kShortWord> ids;
  std::array<BpeMerge, kShortWord> merges;  // of ids[i] and ids[i + 1]
  std::size_t count = word.size();
  for (std::size_t i = 0; i < count; ++i) ids[i] = byte_tokens_[static_cast<unsigned char>(word[i])];
  const auto look_up = [&](std::size_t i) {
    const BpeMerge* merge = i + 1 < count ? merges_.find(ids[i], ids[i + 1]) : nullptr;
    merges[i] = merge == nullptr ? BpeMerge{kNoRank, 0} : *merge;
  };
  for (std::size_t i = 0; i < count; ++i) look_up(i);

  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == kNoRank) break;
    ids[best] = merges[best].result;
    std::copy(ids.begin() + best + 2, ids.begin() + count, ids.begin() + best + 1);
    std::copy(merges.begin() + best + 2, merges.begin() + count, merges.begin() + best + 1);
    --count;
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + count);
}

void Bpe::encode_long(std::string_view word, std::vector<TokenId>& out) const {
  CHECK(word.size() < UINT32_MAX, "a word of more than 32 bits of bytes");
  // The tokens as a linked list over the bytes at which they begin, each with what it and the next would merge to.
  struct Node {
    TokenId id;
    std::uint32_t previous, next;
    BpeMerge merge;
  };
  const auto size = static_cast<std::uint32_t>(word.size()), none = size;
  std::vector<Node> nodes(size);
  for (std::uint32_t i = 0; i < size; ++i)
    nodes[i] = {byte_tokens_[static_cast<unsigned char>(word[i])], i == 0 ? none : i - 1, i + 1, {kNoRank, 0}};
  const auto look_up = [&](std::uint32_t at) {
    Node& node = nodes[at];
    const BpeMerge* merge = node.next == none ? nullptr : merges_.find(node.id, nodes[node.next].id);
    node.merge = merge == nullptr ? BpeMerge{kNoRank, 0} : *merge;
    return node.merge.rank != kNoRank;
  };

  // Rank and place in one number: the lowest rank, then the leftmost, is on top. One whose node has another rank by now
  // is out of date; a rank says which pair it is.
  const auto candidate = [&](std::uint32_t at) { return std::uint64_t{nodes[at].merge.rank} << 32 | at; };
  std::vector<std::uint64_t> candidates;
  candidates.reserve(size);
  for (std::uint32_t i = 0; i < size; ++i)
    if (look_up(i)) candidates.push_back(candidate(i));
  std::priority_queue heap(std::greater<>{}, std::move(candidates));
  while (!heap.empty()) {
    const std::uint64_t best = heap.top();
    heap.pop();
    const auto at = static_cast<std::uint32_t>(best);
    Node& node = nodes[at];
    if (node.merge.rank != best >> 32) continue;
    nodes[node.next].merge.rank = kNoRank;
    node.id = node.merge.result;
    node.next = nodes[node.next].next;
    if (node.next != none) nodes[node.next].previous = at;
    if (look_up(at)) heap.push(candidate(at));
    if (node.previous != none && look_up(node.previous)) heap.push(candidate(node.previous));
  }
  for (std::uint32_t at = 0; at != none; at = nodes[at].next) out.push_back(nodes[at].id);
}

}  // namespace strata
