#include "state/prefix_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace strata {
namespace {

constexpr std::uint64_t kSeed = 0x9AE16A3B2F90404Fu;
constexpr std::size_t kEvictedRemembered = 4096;  // 64 KB or so; enough to tell why a chat that came back starts anew

/// The hash of a sequence, from that of all but its last token. A hash only finds a candidate: tokens are compared.
std::uint64_t extend(std::uint64_t hash, TokenId token) {
  hash = (hash ^ static_cast<std::uint32_t>(token)) * 0xFF51AFD7ED558CCDu;
  return hash ^ hash >> 32;
}

std::uint64_t hash_of(std::span<const TokenId> tokens) {
  std::uint64_t hash = kSeed;
  for (TokenId t : tokens) hash = extend(hash, t);
  return hash;
}

}  // namespace

std::string_view name_of(PrefixMiss miss) {
  switch (miss) {
    case PrefixMiss::no_snapshot:
      return "no_snapshot";
    case PrefixMiss::diverged:
      return "diverged";
    case PrefixMiss::evicted:
      return "evicted";
    case PrefixMiss::salt:
      return "salt";
  }
  return "";
}

PrefixCache::PrefixCache(StatePool& pool) : pool_(pool), holders_(static_cast<std::size_t>(pool.total_pages()), 0) {}

PrefixCache::Entries::iterator PrefixCache::at(std::uint64_t hash, std::span<const TokenId> tokens,
                                               std::string_view salt) {
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Entry& entry = *it->second;
    if (entry.salt == salt && std::equal(entry.tokens.begin(), entry.tokens.end(), tokens.begin(), tokens.end())) {
      return it->second;
    }
  }
  return entries_.end();
}

PrefixCache::Match PrefixCache::find(std::span<const TokenId> prompt, std::string_view salt) {
  Match match;
  bool other_salt = false, was_evicted = false;
  // Beginnings are hashed one after the other, and looked up at the lengths that something has or had.
  std::uint64_t hash = kSeed;
  std::size_t hashed = 0;
  for (const auto& [length, count] : lengths_) {
    if (length >= std::ssize(prompt)) break;
    while (hashed < static_cast<std::size_t>(length)) hash = extend(hash, prompt[hashed++]);
    was_evicted |= evicted_.contains(hash);
    if (!by_hash_.contains(hash)) continue;
    if (at(hash, prompt.first(hashed), salt) != entries_.end()) {
      match.length = length;
    } else {
      other_salt = true;
    }
  }
  if (other_salt) {
    match.miss = PrefixMiss::salt;
  } else if (was_evicted) {
    match.miss = PrefixMiss::evicted;
  } else if (std::ssize(prompt) >= kPageSize && first_pages_.contains(hash_of(prompt.first(kPageSize)))) {
    match.miss = PrefixMiss::diverged;
  }
  return match;
}

std::optional<SequenceState> PrefixCache::resume(std::span<const TokenId> tokens, std::string_view salt) {
  const auto entry = at(hash_of(tokens), tokens, salt);
  if (entry == entries_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, entry);
  std::optional<SequenceState> state = pool_.fork(entry->state);
  while (!state && entries_.size() > 1) {
    evict(std::prev(entries_.end()));
    state = pool_.fork(entry->state);
  }
  if (!state) {
    ++evictions_;
    state = take(entry);
  }
  return state;
}

void PrefixCache::remember(std::span<const TokenId> tokens, std::string_view salt, SequenceState state) {
  CHECK(state.length() == std::ssize(tokens), "a state of other tokens");
  const std::uint64_t hash = hash_of(tokens);
  if (const auto known = at(hash, tokens, salt); known != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, known);
    return;
  }
  pool_.trim(state);
  Entry entry;
  entry.tokens.assign(tokens.begin(), tokens.end());
  entry.salt = salt;
  entry.hash = hash;
  entry.state = std::move(state);
  for (const std::int32_t page : entry.state.pages()) pages_held_ += holders_[static_cast<std::size_t>(page)]++ == 0;
  if (std::ssize(tokens) >= kPageSize) ++first_pages_[hash_of(tokens.first(kPageSize))];
  ++lengths_[std::ssize(tokens)];
  entries_.push_front(std::move(entry));
  by_hash_.emplace(hash, entries_.begin());
}

bool PrefixCache::remember_fork(std::span<const TokenId> tokens, std::string_view salt, const SequenceState& state) {
  if (const auto known = at(hash_of(tokens), tokens, salt); known != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, known);
    return true;
  }
  if (!free_slots(1) || (state.length() % kPageSize != 0 && !free_pages(1))) return false;
  std::optional<SequenceState> fork = pool_.fork(state);
  CHECK(fork, "there were a slot and a page");
  remember(tokens, salt, std::move(*fork));
  return true;
}

void PrefixCache::forget(std::span<const TokenId> tokens, std::string_view salt) {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    const std::span<const TokenId> its = entry->tokens;
    if (entry->salt == salt && its.size() <= tokens.size() && std::equal(its.begin(), its.end(), tokens.begin())) {
      take(entry);
    }
    entry = next;
  }
}

void PrefixCache::clear() {
  while (!entries_.empty()) evict(entries_.begin());
}

bool PrefixCache::free_slots(std::int64_t slots) {
  if (pool_.free_slots() + size() < slots) return false;
  while (pool_.free_slots() < slots) evict(std::prev(entries_.end()));
  return true;
}

bool PrefixCache::free_pages(std::int64_t pages) {
  if (pool_.free_pages() < pages && obtainable_pages() < pages) return false;
  while (pool_.free_pages() < pages) {
    // What would give nothing back is dropped only if everything is shared.
    auto entry = std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& e) { return holds_pages_alone(e); });
    evict(entry == entries_.rend() ? std::prev(entries_.end()) : std::prev(entry.base()));
  }
  return true;
}

std::int64_t PrefixCache::obtainable_pages() const {
  std::int64_t pages = pool_.free_pages();
  for (std::size_t p = 0; p < holders_.size(); ++p) {
    pages += holders_[p] > 0 && holders_[p] == pool_.owners(static_cast<std::int32_t>(p));
  }
  return pages;
}

std::int64_t PrefixCache::bytes() const {
  return size() * pool_.layout().slot_bytes() + pages_held_ * pool_.layout().page_bytes();
}

bool PrefixCache::holds_pages_alone(const Entry& entry) const {
  const auto pages = entry.state.pages();
  return std::any_of(pages.begin(), pages.end(), [&](std::int32_t p) { return pool_.owners(p) == 1; });
}

/// Takes an entry out and leaves a record that it was there.
SequenceState PrefixCache::take(Entries::iterator entry) {
  const auto [begin, end] = by_hash_.equal_range(entry->hash);
  by_hash_.erase(std::find_if(begin, end, [&](const auto& known) { return known.second == entry; }));
  const auto length = std::ssize(entry->tokens);
  if (length >= kPageSize) {
    const auto page = first_pages_.find(hash_of(std::span(entry->tokens).first(kPageSize)));
    if (--page->second == 0) first_pages_.erase(page);
  }
  for (const std::int32_t page : entry->state.pages()) pages_held_ -= --holders_[static_cast<std::size_t>(page)] == 0;
  // Its count in lengths_ goes over to the record.
  evicted_order_.push_back({entry->hash, length});
  evicted_.insert(entry->hash);
  if (evicted_order_.size() > kEvictedRemembered) {
    const Evicted oldest = evicted_order_.front();
    evicted_order_.pop_front();
    evicted_.erase(evicted_.find(oldest.hash));
    forget_length(oldest.length);
  }
  SequenceState state = std::move(entry->state);
  entries_.erase(entry);
  return state;
}

void PrefixCache::evict(Entries::iterator entry) {
  ++evictions_;
  take(entry);
}

void PrefixCache::forget_length(std::int64_t length) {
  const auto it = lengths_.find(length);
  if (--it->second == 0) lengths_.erase(it);
}

}  // namespace strata
