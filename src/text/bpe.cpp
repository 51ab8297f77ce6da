#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
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
  // The tokens as a linked list over the bytes at which they begin.
  constexpr TokenId kGone = -1;
  struct Node {
    TokenId id;
    std::size_t previous, next;
  };
  const std::size_t none = word.size();
  std::vector<Node> nodes(word.size());
  for (std::size_t i = 0; i < nodes.size(); ++i)
    nodes[i] = {byte_tokens_[static_cast<unsigned char>(word[i])], i == 0 ? none : i - 1, i + 1};

  struct Candidate {
    BpeMerge merge;
    std::size_t at;
    TokenId left, right;                            // to tell whether either has changed since
    bool operator<(const Candidate& other) const {  // for a heap with the lowest rank, then the leftmost, on top
      return std::pair(merge.rank, at) > std::pair(other.merge.rank, other.at);
    }
  };
  std::vector<Candidate> candidates;
  candidates.reserve(word.size());
  const auto candidate = [&](std::size_t at) -> std::optional<Candidate> {
    if (at == none || nodes[at].next == none) return std::nullopt;
    const TokenId left = nodes[at].id, right = nodes[nodes[at].next].id;
    const BpeMerge* merge = merges_.find(left, right);
    if (merge == nullptr) return std::nullopt;
    return Candidate{*merge, at, left, right};
  };
  for (std::size_t i = 0; i + 1 < nodes.size(); ++i)
    if (const auto c = candidate(i)) candidates.push_back(*c);

  std::priority_queue<Candidate> heap({}, std::move(candidates));
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Node& node = nodes[best.at];
    if (node.id != best.left || node.next == none || nodes[node.next].id != best.right) continue;
    nodes[node.next].id = kGone;
    node.id = best.merge.result;
    node.next = nodes[node.next].next;
    if (node.next != none) nodes[node.next].previous = best.at;
    if (const auto c = candidate(best.at)) heap.push(*c);
    if (const auto c = candidate(node.previous)) heap.push(*c);
  }
  for (std::size_t at = 0; at != none; at = nodes[at].next) out.push_back(nodes[at].id);
}

}  // namespace strata
