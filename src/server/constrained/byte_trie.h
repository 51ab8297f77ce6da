// A set of byte strings, walked a byte at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata {

/// Words with a number each, as a tree of their bytes. Built once; what it costs grows with the words' bytes alone.
class ByteTrie {
 public:
  using Node = std::uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr Node kNone = UINT32_MAX;  // no such place
  static constexpr std::int32_t kNoWord = -1;

  ByteTrie() = default;
  /// Of equal words the first counts. Numbers are >= 0.
  explicit ByteTrie(std::vector<std::pair<std::string, std::int32_t>> words);

  bool empty() const { return nodes_.empty(); }
  /// The place after one more byte; kNone if no word goes on so, or if `node` is kNone.
  Node child(Node node, std::uint8_t byte) const;
  bool has_children(Node node) const { return nodes_[node].edge_count > 0; }
  /// The number of the word that ends here, or kNoWord.
  std::int32_t word_at(Node node) const { return node == kNone ? kNoWord : nodes_[node].word; }

  /// Whether a word here or below has a number in [first, last] that `accept` takes.
  template <typename Accept>
  bool any_below(Node node, std::int32_t first, std::int32_t last, Accept accept) const {
    const Place& place = nodes_[node];
    const auto begin = numbers_.begin() + place.number_begin;
    const auto end = begin + place.number_count;
    for (auto at = std::lower_bound(begin, end, first); at != end && *at <= last; ++at) {
      if (accept(*at)) return true;
    }
    return false;
  }

 private:
  struct Place {
    std::uint32_t edge_begin = 0, number_begin = 0, number_count = 0;
    std::uint16_t edge_count = 0;
    std::int32_t word = kNoWord;
  };
  std::vector<Place> nodes_;
  std::vector<std::uint8_t> edge_bytes_;  // of a node ascending; the edge at index e leads to the node e + 1
  std::vector<std::int32_t> numbers_;     // of the words here and below, a node's ascending
};

}  // namespace strata
