// Whether the engine still moves: a hang must end the program, not its users' patience.
#pragma once

#include <algorithm>
#include <chrono>

namespace strata {

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Watchdog(Clock::duration limit) : limit_(limit) {}

  /// To be asked about twice a second. `has_work` and `last_step`: the engine's heartbeat. True if there has been work
  /// and no step for longer than the limit. Time in which nobody asked doesn't count: then the whole process stood
  /// still (a suspended machine, a paused container, a debugger), and the engine with it.
  bool stalled(bool has_work, Clock::time_point last_step, Clock::time_point now) {
    if (now - last_look_ > kLongestGap) counts_from_ = now;
    last_look_ = now;
    return has_work && now - std::max(last_step, counts_from_) > limit_;
  }
  Clock::duration limit() const { return limit_; }

 private:
  static constexpr std::chrono::seconds kLongestGap{1};
  Clock::duration limit_;
  Clock::time_point last_look_{}, counts_from_{};
};

}  // namespace strata
