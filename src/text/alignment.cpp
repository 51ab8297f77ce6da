#include "text/alignment.h"

#include <algorithm>

namespace strata {

void Alignment::add_copied(std::size_t bytes) {
  if (bytes == 0) return;
  if (!stretches_.empty() && stretches_.back().copied) {
    stretches_.back().from_end += bytes;
    stretches_.back().to_end += bytes;
    return;
  }
  add_replaced(bytes, bytes);
  stretches_.back().copied = true;
}

void Alignment::add_replaced(std::size_t from, std::size_t to) {
  const Stretch last = stretches_.empty() ? Stretch{} : stretches_.back();
  stretches_.push_back({last.from_end, last.from_end + from, last.to_end, last.to_end + to, false});
}

const Alignment::Stretch* Alignment::find(std::size_t to) const {
  const auto after = std::upper_bound(stretches_.begin(), stretches_.end(), to,
                                      [](std::size_t at, const Stretch& s) { return at < s.to_end; });
  return after == stretches_.end() ? nullptr : &*after;
}

std::size_t Alignment::begin_before(std::size_t begin) const {
  if (stretches_.empty()) return begin;
  const Stretch* stretch = find(begin);
  if (stretch == nullptr) return stretches_.back().from_end;
  return stretch->from_begin + (stretch->copied ? begin - stretch->to_begin : 0);
}

std::size_t Alignment::end_before(std::size_t end) const {
  if (stretches_.empty() || end == 0) return end;
  const Stretch* stretch = find(end - 1);
  if (stretch == nullptr) return stretches_.back().from_end;
  return stretch->copied ? stretch->from_begin + (end - stretch->to_begin) : stretch->from_end;
}

}  // namespace strata
