#include "server/constrained/token_trie.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <type_traits>

#include "engine/constraint.h"
#include "text/utf8.h"

namespace strata {
namespace {

// Longer tokens are never needed: every byte is a token of its own.
constexpr std::size_t kMaxTokenBytes = 1024;

bool is_ordinary(std::string_view bytes) {
  const auto special = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; };
  return std::none_of(bytes.begin(), bytes.end(), special) && valid_utf8_prefix(bytes) == bytes.size();
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first -
                                  a.begin());
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : vocab_size_(tokenizer.vocab_size()) {
  Words words;
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token)
    if (!tokenizer.is_added(token)) words.emplace_back(tokenizer.bytes(token), token);
  build(std::move(words));
}

TokenTrie::TokenTrie(std::vector<std::pair<std::string, TokenId>> tokens, std::int64_t vocab) : vocab_size_(vocab) {
  build(std::move(tokens));
}

void TokenTrie::build(Words words) {
  words.erase(std::remove_if(words.begin(), words.end(),
                             [](const auto& word) { return word.first.empty() || word.first.size() > kMaxTokenBytes; }),
              words.end());
  std::sort(words.begin(), words.end());
  ordinary_mask_.assign(mask_words(vocab_size_), 0);
  spans_.resize(static_cast<std::size_t>(vocab_size_));
  Words ordinary, others;
  for (auto& word : words) {
    const auto& [bytes, token] = word;
    longest_ = std::max(longest_, static_cast<std::uint32_t>(bytes.size()));
    spans_[static_cast<std::size_t>(token)] = {text_.size(), bytes.size()};
    text_ += bytes;
    if (is_ordinary(bytes)) {
      ordinary_mask_[static_cast<std::size_t>(token) / 32] |= 1u << (token % 32);
      ordinary.push_back(std::move(word));
    } else {
      others.push_back(std::move(word));
    }
  }
  order_by_length(ordinary);
  ordinary_ = build_tree(ordinary);
  others_ = build_tree(others);
  characters_.resize(static_cast<std::size_t>(vocab_size_));
  const StringShape string{LengthCounter{.left = LengthCounter::kMost}};
  slices_[static_cast<std::size_t>(TextKind::string)] = build_slice(others, string, *string.step(0, '"'));
  slices_[static_cast<std::size_t>(TextKind::raw)] = build_slice(others, RawTextShape{LengthCounter{}}, 0);
}

/// `words`: those that aren't ordinary.
template <typename Shape>
TokenTrie::Slice TokenTrie::build_slice(const Words& words, const Shape& shape, TextState start) {
  Slice slice{ordinary_mask_, {}, {}, {}};
  Words beyond;
  for (const auto& [bytes, token] : words) {
    TextState last = start;  // before the end
    std::optional<TextState> state = start;
    std::size_t taken = 0;
    while (taken < bytes.size() && state && *state != Shape::kEnded) {
      last = *state;
      state = shape.step(*state, static_cast<std::uint8_t>(bytes[taken++]));
    }
    if (!state) continue;
    const bool ended = *state == Shape::kEnded;
    if constexpr (std::is_same_v<Shape, StringShape>) {
      const std::uint32_t left = shape.characters_left(ended ? last : *state);
      characters_[static_cast<std::size_t>(token)] = static_cast<std::uint16_t>(LengthCounter::kMost - left);
    }
    if (!ended) {
      slice.inside[static_cast<std::size_t>(token) / 32] |= 1u << (token % 32);
      slice.others_inside.push_back(token);
    } else if (taken == bytes.size()) {
      slice.ending.push_back(token);
    } else {
      beyond.emplace_back(bytes.substr(taken), token);
    }
  }
  std::sort(beyond.begin(), beyond.end());
  slice.beyond = build_tree(beyond);
  return slice;
}

void TokenTrie::order_by_length(const Words& words) {
  std::vector<std::vector<TokenId>> by_length(longest_ + 1);
  for (const auto& [bytes, token] : words) {
    const auto continues = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; };
    by_length[bytes.size() - static_cast<std::size_t>(std::count_if(bytes.begin(), bytes.end(), continues))].push_back(
        token);
  }
  for (const auto& tokens : by_length) {
    ordinary_by_length_.insert(ordinary_by_length_.end(), tokens.begin(), tokens.end());
    ordinary_up_to_.push_back(ordinary_by_length_.size());
  }
}

void TokenTrie::allow_ordinary(std::uint32_t most_characters, std::span<std::uint32_t> mask) const {
  if (most_characters >= longest_) {
    for (std::size_t word = 0; word < std::min(mask.size(), ordinary_mask_.size()); ++word)
      mask[word] |= ordinary_mask_[word];
    return;
  }
  for (std::size_t i = 0; i < ordinary_up_to_[most_characters]; ++i) {
    const auto token = static_cast<std::size_t>(ordinary_by_length_[i]);
    if (token / 32 < mask.size()) mask[token / 32] |= 1u << (token % 32);
  }
}

std::string_view TokenTrie::bytes(TokenId token) const {
  if (token < 0 || token >= vocab_size_) return {};
  const auto [begin, size] = spans_[static_cast<std::size_t>(token)];
  return std::string_view(text_).substr(begin, size);
}

TokenTrie::Tree TokenTrie::build_tree(const Words& words) {
  Tree tree;
  std::vector<std::size_t> path;  // the nodes above the place where the next one comes
  std::string_view last;
  const auto leave = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back()) tree[path.back()].next = static_cast<std::uint32_t>(tree.size());
  };
  for (const auto& [bytes, token] : words) {
    leave(common_prefix(last, bytes));
    while (path.size() < bytes.size()) {
      const auto byte = static_cast<std::uint8_t>(bytes[path.size()]);
      path.push_back(tree.size());
      tree.push_back({0, static_cast<std::uint32_t>(tokens_.size()), 0, static_cast<std::uint16_t>(path.size()), byte});
    }
    ++tree[path.back()].token_count;
    tokens_.push_back(token);
    last = bytes;
  }
  leave(0);
  return tree;
}

}  // namespace strata
