#include "server/generation/stop_strings.h"

#include <algorithm>
#include <utility>

namespace strata {

StopStrings::StopStrings(std::vector<std::string> stops, bool include) : stops_(std::move(stops)), include_(include) {
  std::erase(stops_, "");
  // The longest first: of those that are complete with the same byte it counts.
  std::sort(stops_.begin(), stops_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string StopStrings::push(std::string_view text, bool armed) {
  if (stopped()) return {};
  if (stops_.empty()) return std::string(text);
  const std::size_t known = held_.size();
  held_ += text;
  for (std::size_t end = known + 1; armed && end <= held_.size(); ++end) {
    const std::string_view seen = std::string_view(held_).substr(0, end);
    const auto stop = std::find_if(stops_.begin(), stops_.end(), [&](const auto& s) { return seen.ends_with(s); });
    if (stop == stops_.end()) continue;
    matched_ = *stop;
    held_.resize(include_ ? end : end - stop->size());
    return std::exchange(held_, {});
  }
  const std::size_t sure = held_.size() - possible_start();
  std::string out = held_.substr(0, sure);
  held_.erase(0, sure);
  return out;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

std::size_t StopStrings::possible_start() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace strata
