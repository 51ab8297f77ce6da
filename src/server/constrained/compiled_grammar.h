// A grammar with the masks of its states, shared by all requests that ask for the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/constrained/grammar.h"
#include "server/constrained/grammar_state.h"
#include "server/constrained/token_trie.h"

namespace strata {

/// A grammar over a vocabulary. Thread-safe.
class CompiledGrammar {
 public:
  /// Masks that are kept, the last used ones.
  static constexpr std::size_t kMaskBytes = 4 << 20;

  CompiledGrammar(Grammar grammar, std::shared_ptr<const TokenTrie> trie);

  const std::shared_ptr<const Grammar>& grammar() const { return grammar_; }
  const TokenTrie& trie() const { return *trie_; }

  /// Sets the bits in `mask` of the tokens that may come next in a text of this grammar; leaves the others. Bits past
  /// the mask's end are left out. `state` is as before afterwards.
  void allow(GrammarState& state, std::span<std::uint32_t> mask) const;
  /// How many masks were computed, not found.
  std::int64_t masks_computed() const;

 private:
  using Mask = std::vector<std::uint32_t>;
  using Recent = std::list<std::pair<std::string, std::shared_ptr<const Mask>>>;
  std::shared_ptr<const Mask> find(const std::string& key) const;
  void keep(std::string key, std::shared_ptr<const Mask> mask) const;

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  mutable std::mutex mutex_;
  mutable Recent recent_;  // the last used first
  mutable std::unordered_map<std::string_view, Recent::iterator> by_key_;
  mutable std::int64_t computed_ = 0;
};

/// Sets the bits of the tokens of `trie` after which the text can still be completed.
void allow_tokens(GrammarState& state, const TokenTrie& trie, std::span<std::uint32_t> mask);

}  // namespace strata
