// Remembered beginnings of token sequences, and the states that they left behind.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/token.h"
#include "state/state_pool.h"

namespace strata {

/// Why a prompt starts from nothing.
enum class PrefixMiss {
  no_snapshot,  // nothing like it was remembered
  diverged,     // something remembered has the same first page of tokens, and goes on in another way
  evicted,      // a beginning of it was remembered, and dropped for its memory
  salt,         // a beginning of it is remembered under another salt
};
inline constexpr std::size_t kPrefixMisses = 4;
/// "no_snapshot", "diverged", "evicted", "salt".
std::string_view name_of(PrefixMiss miss);

/// States by the tokens that they have seen. It takes no memory of its own: its states hold slots and pages of the
/// pool, and are dropped, least recently used first, when those are needed. Not thread-safe: the engine's thread owns
/// it.
class PrefixCache {
 public:
  explicit PrefixCache(StatePool& pool);

  /// What was found for a prompt: a length of 0 is a miss.
  struct Match {
    std::int64_t length = 0;  // tokens
    PrefixMiss miss = PrefixMiss::no_snapshot;
  };
  /// The longest remembered beginning of `prompt` that is shorter than it. O(tokens), whatever is remembered.
  Match find(std::span<const TokenId> prompt, std::string_view salt);
  /// A state that has seen exactly `tokens`, which a `find` has matched: a fork, or the remembered one itself where
  /// there is no memory for both. Counts as a use. Nothing if it isn't remembered.
  std::optional<SequenceState> resume(std::span<const TokenId> tokens, std::string_view salt);

  /// Keeps `state`, which has seen `tokens`; reserved pages are given back. What is already remembered counts as used,
  /// and `state` is dropped.
  void remember(std::span<const TokenId> tokens, std::string_view salt, SequenceState state);
  /// The same for a fork of a state that goes on. Drops others for its slot and page; false if there is no memory.
  bool remember_fork(std::span<const TokenId> tokens, std::string_view salt, const SequenceState& state);
  /// Drops all that are a beginning of `tokens`, or all there are: they can't be trusted.
  void forget(std::span<const TokenId> tokens, std::string_view salt);
  void clear();

  /// Drops states until so many slots or pages are free; false if that can't be.
  bool free_slots(std::int64_t slots);
  bool free_pages(std::int64_t pages);
  /// Pages that are free, or would be if nothing was remembered.
  std::int64_t obtainable_pages() const;

  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  std::int64_t bytes() const;
  std::int64_t evictions() const { return evictions_; }

 private:
  struct Entry {
    std::vector<TokenId> tokens;
    std::string salt;
    std::uint64_t hash = 0;
    SequenceState state;
  };
  using Entries = std::list<Entry>;  // the most recently used first

  /// The entry of exactly `tokens`, whose hash is `hash`; entries_.end() if there is none.
  Entries::iterator at(std::uint64_t hash, std::span<const TokenId> tokens, std::string_view salt);
  SequenceState take(Entries::iterator entry);
  void evict(Entries::iterator entry);
  bool holds_pages_alone(const Entry& entry) const;
  void forget_length(std::int64_t length);

  struct Evicted {
    std::uint64_t hash = 0;
    std::int64_t length = 0;
  };

  StatePool& pool_;
  Entries entries_;
  std::unordered_multimap<std::uint64_t, Entries::iterator> by_hash_;  // of the tokens, without the salt
  std::unordered_map<std::uint64_t, std::int64_t> first_pages_;        // hashes of first pages, and how many have it
  std::vector<std::int32_t> holders_;                                  // entries that hold a page, by page
  std::int64_t pages_held_ = 0;                                        // that some entry holds
  std::int64_t evictions_ = 0;
  // The last ones that were dropped, so that a miss can be told; and all lengths of these and of the entries.
  std::deque<Evicted> evicted_order_;
  std::unordered_multiset<std::uint64_t> evicted_;
  std::map<std::int64_t, std::int64_t> lengths_;
};

}  // namespace strata
