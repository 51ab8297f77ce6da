// How many prompt tokens a step may have beside decodes, learned from how long steps take.
#pragma once

#include <chrono>
#include <cstdint>

namespace strata {

/// A step is the gap between two tokens of every answer in it, so prompts get what keeps it short: kTarget, or where a
/// step of decodes alone takes long already, kDecodes times that. What a prompt's token costs differs a hundredfold
/// from machine to machine and by model and context, and changes with what else the machine does; so it is measured.
class StepPace {
 public:
  using Duration = std::chrono::duration<double>;
  static constexpr Duration kTarget{0.007};
  static constexpr double kDecodes = 2.5;
  /// Before anything is known; and the least, because smaller chunks cost more than they are worth.
  static constexpr std::int64_t kFirst = 64, kLeast = 16;

  /// `most`: prompt tokens that a step may have at all.
  explicit StepPace(std::int64_t most) : most_(most) {}

  /// What a step of so many tokens of prompts, beside decodes or not, took.
  void learn(std::int64_t prompt_tokens, Duration took);
  /// Prompt tokens that the next step may have while some sequence decodes.
  std::int64_t prompt_tokens() const;

 private:
  const std::int64_t most_;
  double decode_step_ = 0;   // seconds of a step without prompts; 0: unknown
  double prompt_token_ = 0;  // what a token of a prompt adds to that; 0: unknown
};

}  // namespace strata
