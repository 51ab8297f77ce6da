#include "engine/step_pace.h"

#include <algorithm>

namespace strata {
namespace {

/// Moves `mean` towards `value`. One step that the machine was slow with counts no more than twice what is usual.
void follow(double& mean, double value) {
  constexpr double kWeight = 1.0 / 8;
  mean = mean == 0 ? value : mean + kWeight * (std::min(value, 2 * mean) - mean);
}

}  // namespace

void StepPace::learn(std::int64_t prompt_tokens, Duration took) {
  const double seconds = std::max(took.count(), 1e-9);
  if (prompt_tokens == 0) return follow(decode_step_, seconds);
  if (prompt_tokens < std::min(kLeast, most_)) return;  // it tells more of a step than of its tokens
  const double for_prompts = std::max(seconds - decode_step_, seconds / 8);
  follow(prompt_token_, for_prompts / static_cast<double>(prompt_tokens));
}

std::int64_t StepPace::prompt_tokens() const {
  if (prompt_token_ == 0) return std::min(kFirst, most_);
  const double room = std::max(kTarget.count(), kDecodes * decode_step_) - decode_step_;
  // What fits in theory may be more than any number of tokens.
  const double tokens = std::min(room / prompt_token_, static_cast<double>(most_));
  return std::clamp(static_cast<std::int64_t>(tokens), std::min(kLeast, most_), most_);
}

}  // namespace strata
