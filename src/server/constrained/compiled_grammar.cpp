#include "server/constrained/compiled_grammar.h"

#include <algorithm>

#include "engine/constraint.h"

namespace strata {
namespace {

using Stack = GrammarAutomaton::Stack;

/// Walks a tree with the stacks of each place on the way down; what lies below a byte that no stack takes is skipped.
void walk(const TokenTrie::Tree& tree, const std::vector<TokenId>& tokens, std::span<const Stack> start,
          GrammarAutomaton& automaton, std::span<std::uint32_t> mask) {
  std::vector<Stack> stacks(start.begin(), start.end());
  struct Level {
    std::size_t begin, end, frames;  // its stacks, and the frames that they need
    bool steady;                     // its one stack stays as it is while ordinary characters come
  };
  const auto is_plain = [](std::uint8_t byte) { return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\'; };
  const auto steady = [&](std::size_t begin) {
    return stacks.size() == begin + 1 && automaton.is_steady(stacks[begin]);
  };
  std::vector<Level> levels = {{0, stacks.size(), automaton.frames(), steady(0)}};
  for (std::size_t at = 0; at < tree.size();) {
    const TokenTrie::Node& node = tree[at];
    levels.resize(node.depth, levels[0]);
    const Level above = levels.back();
    stacks.resize(above.end);
    automaton.rollback(above.frames);
    const bool stays = above.steady && is_plain(node.byte);
    if (stays) {
      stacks.push_back(Stack(stacks[above.begin]));
    } else {
      for (std::size_t i = above.begin; i < above.end; ++i) automaton.step(stacks[i], node.byte, stacks, above.end);
    }
    if (stacks.size() == above.end) {
      at = node.next;
      continue;
    }
    for (std::uint32_t t = node.first_token; t < node.first_token + node.token_count; ++t) {
      const auto token = static_cast<std::size_t>(tokens[t]);
      if (token / 32 < mask.size()) mask[token / 32] |= 1u << (token % 32);
    }
    levels.push_back({above.end, stacks.size(), automaton.frames(), stays || steady(above.end)});
    ++at;
  }
  automaton.rollback(levels[0].frames);
}

}  // namespace

void allow_tokens(GrammarState& state, const TokenTrie& trie, std::span<std::uint32_t> mask) {
  GrammarAutomaton& automaton = state.automaton();
  const std::span<const Stack> stacks = state.stacks();
  // Ordinary tokens needn't be tried where all stacks are in a text, or one is that takes any of them.
  std::uint32_t room = 0;
  bool in_text = true;
  for (const Stack stack : stacks) {
    const auto characters = automaton.room(stack);
    in_text &= characters.has_value();
    room = std::max(room, characters.value_or(0));
  }
  if (in_text || room >= trie.longest()) {
    trie.allow_ordinary(room, mask);
  } else {
    walk(trie.ordinary(), trie.tokens(), stacks, automaton, mask);
  }
  walk(trie.others(), trie.tokens(), stacks, automaton, mask);
}

CompiledGrammar::CompiledGrammar(Grammar grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::make_shared<const Grammar>(std::move(grammar))), trie_(std::move(trie)) {}

void CompiledGrammar::allow(GrammarState& state, std::span<std::uint32_t> mask) const {
  std::string key;
  for (const Stack stack : state.stacks()) state.automaton().append_key(stack, trie_->longest(), key);
  std::shared_ptr<const Mask> known = find(key);
  if (!known) {
    auto computed = std::make_shared<Mask>(mask_words(trie_->vocab_size()), 0);
    allow_tokens(state, *trie_, *computed);
    known = computed;
    keep(std::move(key), std::move(computed));
  }
  for (std::size_t word = 0; word < std::min(mask.size(), known->size()); ++word) mask[word] |= (*known)[word];
}

std::int64_t CompiledGrammar::masks_computed() const {
  const std::lock_guard lock(mutex_);
  return computed_;
}

std::shared_ptr<const CompiledGrammar::Mask> CompiledGrammar::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return found->second->second;
}

void CompiledGrammar::keep(std::string key, std::shared_ptr<const Mask> mask) const {
  const std::lock_guard lock(mutex_);
  ++computed_;
  if (by_key_.contains(key)) return;
  const std::size_t most = std::max<std::size_t>(1, kMaskBytes / (4 * std::max<std::size_t>(1, mask->size())));
  recent_.emplace_front(std::move(key), std::move(mask));
  by_key_.emplace(recent_.front().first, recent_.begin());
  while (recent_.size() > most) {
    by_key_.erase(recent_.back().first);
    recent_.pop_back();
  }
}

}  // namespace strata
