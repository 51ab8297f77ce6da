#include "server/constrained/compiled_grammar.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/constraint.h"

namespace strata {
namespace {

using Stack = GrammarAutomaton::Stack;

void set_bit(std::span<std::uint32_t> mask, TokenId token) {
  const auto at = static_cast<std::size_t>(token);
  if (at / 32 < mask.size()) mask[at / 32] |= 1u << (at % 32);
}

/// Walks a tree with the stacks of each place on the way down; what lies below a byte that no stack takes is skipped.
/// Sets the bits of the tokens it reaches that are `wanted`.
template <typename Wanted>
void walk(const TokenTrie::Tree& tree, const std::vector<TokenId>& tokens, std::span<const Stack> start,
          GrammarAutomaton& automaton, std::span<std::uint32_t> mask, const Wanted& wanted) {
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
    for (std::uint32_t t = node.first_token; t < node.first_token + node.token_count; ++t)
      if (wanted(tokens[t])) set_bit(mask, tokens[t]);
    levels.push_back({above.end, stacks.size(), automaton.frames(), stays || steady(above.end)});
    ++at;
  }
  automaton.rollback(levels[0].frames);
}

void add(std::span<std::uint32_t> mask, const std::vector<std::uint32_t>& more) {
  for (std::size_t word = 0; word < std::min(mask.size(), more.size()); ++word) mask[word] |= more[word];
}

/// The tokens at a place in a text: what they are to the text is known, and only what comes after its end has to be
/// tried.
void allow_in_text(const GrammarAutomaton::TextPlace& place, Stack stack, const TokenTrie& trie,
                   GrammarAutomaton& automaton, std::span<std::uint32_t> mask) {
  const TokenTrie::Slice& slice = trie.slice(place.kind);
  const LengthCounter length = place.length;
  const bool limited = length.left < trie.longest();
  if (limited) {
    trie.allow_ordinary(length.left, mask);
    for (const TokenId token : slice.others_inside)
      if (trie.characters(token) <= length.left) set_bit(mask, token);
  } else {
    add(mask, slice.inside);
  }
  const auto ends_well = [&](TokenId token) {
    const std::uint32_t characters = place.kind == TextKind::string ? trie.characters(token) : 0;
    return characters >= length.needed && characters <= length.left;
  };
  for (const TokenId token : slice.ending)
    if (ends_well(token)) set_bit(mask, token);
  const Stack after = automaton.after_text(stack);
  walk(slice.beyond, trie.tokens(), {&after, 1}, automaton, mask, ends_well);
}

/// False, and nothing is done, if that is not where all stacks are.
bool allow_in_texts(GrammarState& state, const TokenTrie& trie, std::span<std::uint32_t> mask) {
  constexpr std::size_t kMostPlaces = 8;  // with more it is cheaper to follow them together
  std::vector<GrammarAutomaton::TextPlace> places;
  const std::span<const Stack> stacks = state.stacks();
  if (stacks.size() > kMostPlaces) return false;
  for (const Stack stack : stacks) {
    const auto place = state.automaton().text_place(stack, trie.longest());
    if (!place) return false;
    places.push_back(*place);
  }
  for (std::size_t i = 0; i < places.size(); ++i) allow_in_text(places[i], stacks[i], trie, state.automaton(), mask);
  return true;
}

}  // namespace

void allow_tokens(GrammarState& state, const TokenTrie& trie, std::span<std::uint32_t> mask) {
  if (allow_in_texts(state, trie, mask)) return;
  GrammarAutomaton& automaton = state.automaton();
  const std::span<const Stack> stacks = state.stacks();
  const auto any = [](TokenId) { return true; };
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
    walk(trie.ordinary(), trie.tokens(), stacks, automaton, mask, any);
  }
  walk(trie.others(), trie.tokens(), stacks, automaton, mask, any);
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
  add(mask, *known);
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
