// The way back from a text that was changed to the bytes that it was made of.
#pragma once

#include <cstddef>
#include <vector>

namespace strata {

/// Which bytes of a text became which bytes of another: stretches that are copies, and stretches that were replaced
/// as a whole. Empty: the texts are equal.
class Alignment {
 public:
  /// Appends a stretch: `from` bytes became `to` bytes.
  void add_copied(std::size_t bytes);
  void add_replaced(std::size_t from, std::size_t to);

  /// The smallest range of the first text that covers [begin, end) of the second.
  std::size_t begin_before(std::size_t begin) const;
  std::size_t end_before(std::size_t end) const;

 private:
  struct Stretch {
    std::size_t from_begin, from_end, to_begin, to_end;
    bool copied;
  };
  const Stretch* find(std::size_t to) const;
  std::vector<Stretch> stretches_;
};

}  // namespace strata
