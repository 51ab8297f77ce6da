// How far loading has got: a bar on a terminal, a line at the end everywhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace strata {

/// Writes to stderr. `update` is a WeightStore::Progress.
class LoadProgress {
 public:
  explicit LoadProgress(std::int64_t total_bytes);
  /// `bytes`: loaded so far. Redraws a terminal's bar ten times a second.
  void update(std::int64_t bytes);
  /// Replaces the bar with a line that says how much was loaded and how fast.
  void done();

 private:
  using Clock = std::chrono::steady_clock;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  std::int64_t total_, bytes_ = 0;
  bool terminal_, drawn_ = false;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

/// "19.3 GB", "12.4 MB": powers of ten, three digits.
std::string format_bytes(double bytes);

/// "2,444".
std::string format_count(std::int64_t count);

/// Whether what is written to `fd` is seen by a person on a terminal that knows colours (NO_COLOR, TERM=dumb).
bool shows_colours(int fd);

}  // namespace strata
