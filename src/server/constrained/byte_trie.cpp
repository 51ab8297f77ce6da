#include "server/constrained/byte_trie.h"

#include <algorithm>
#include <cstddef>

namespace strata {

ByteTrie::ByteTrie(std::vector<std::pair<std::string, std::int32_t>> words) {
  std::stable_sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  words.erase(std::unique(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
              words.end());
  if (words.empty()) return;
  struct Range {
    std::size_t begin, end, depth;  // words that share their first `depth` bytes
  };
  std::vector<Range> ranges = {{0, words.size(), 0}};
  // Breadth first: a node's children are neighbours, and the node of range i is i.
  for (std::size_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    Place place;
    place.number_begin = static_cast<std::uint32_t>(numbers_.size());
    place.number_count = static_cast<std::uint32_t>(end - begin);
    for (std::size_t w = begin; w < end; ++w) numbers_.push_back(words[w].second);
    std::sort(numbers_.begin() + place.number_begin, numbers_.end());
    if (words[begin].first.size() == depth) place.word = words[begin++].second;
    place.edge_begin = static_cast<std::uint32_t>(edge_bytes_.size());
    while (begin < end) {
      const char byte = words[begin].first[depth];
      std::size_t last = begin;
      while (last < end && words[last].first[depth] == byte) ++last;
      edge_bytes_.push_back(static_cast<std::uint8_t>(byte));
      ranges.push_back({begin, last, depth + 1});
      ++place.edge_count;
      begin = last;
    }
    nodes_.push_back(place);
  }
}

ByteTrie::Node ByteTrie::child(Node node, std::uint8_t byte) const {
  if (node == kNone || nodes_.empty()) return kNone;
  const Place& place = nodes_[node];
  const auto begin = edge_bytes_.begin() + place.edge_begin;
  const auto end = begin + place.edge_count;
  const auto found = std::lower_bound(begin, end, byte);
  if (found == end || *found != byte) return kNone;
  return static_cast<Node>(found - edge_bytes_.begin()) + 1;
}

}  // namespace strata
