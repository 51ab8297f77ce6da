#include "apps/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace strata {
namespace {

constexpr int kBarWidth = 30;

bool dumb() {
  const char* term = std::getenv("TERM");
  return !term || std::string_view(term) == "dumb" || *term == '\0';
}

}  // namespace

std::string format_bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  char text[32];
  const int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f %s", decimals, bytes, kUnits[unit]);
  return text;
}

std::string format_count(std::int64_t count) {
  std::string text = std::to_string(count);
  const std::size_t sign = count < 0;
  for (std::size_t at = text.size(); at > sign + 3;) text.insert(at -= 3, 1, ',');
  return text;
}

bool shows_colours(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(fd) && !dumb() && !(no_color && *no_color);
}

LoadProgress::LoadProgress(std::int64_t total_bytes)
    : total_(std::max<std::int64_t>(total_bytes, 1)), terminal_(isatty(STDERR_FILENO) && !dumb()) {}

void LoadProgress::update(std::int64_t bytes) {
  bytes_ = bytes;
  const Clock::time_point time = Clock::now();
  if (!terminal_ || time - last_ < std::chrono::milliseconds(100)) return;
  last_ = time;
  drawn_ = true;
  const double part = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(total_));
  const int full = static_cast<int>(part * kBarWidth);
  std::fprintf(stderr, "\r\033[Kload      [%s%s] %s of %s, %s/s",
               std::string(static_cast<std::size_t>(full), '#').c_str(),
               std::string(static_cast<std::size_t>(kBarWidth - full), ' ').c_str(),
               format_bytes(static_cast<double>(bytes)).c_str(), format_bytes(static_cast<double>(total_)).c_str(),
               format_bytes(static_cast<double>(bytes) / std::max(seconds(), 1e-6)).c_str());
}

void LoadProgress::done() {
  const double time = std::max(seconds(), 1e-6);
  std::fprintf(stderr, "%sload      %s in %.2f s, %s/s\n", drawn_ ? "\r\033[K" : "",
               format_bytes(static_cast<double>(bytes_)).c_str(), time,
               format_bytes(static_cast<double>(bytes_) / time).c_str());
}

}  // namespace strata
