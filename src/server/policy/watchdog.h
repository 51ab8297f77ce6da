// Whether the engine still moves: a hang must end the program, not its users' patience.
#pragma once

#include <chrono>

namespace strata {

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Watchdog(Clock::duration limit) : limit_(limit) {}

  /// `has_work` and `last_step`: the engine's heartbeat. True if there has been work and no step for longer than the
  /// limit.
  bool stalled(bool has_work, Clock::time_point last_step, Clock::time_point now) const {
    return has_work && now - last_step > limit_;
  }
  Clock::duration limit() const { return limit_; }

 private:
  Clock::duration limit_;
};

}  // namespace strata
