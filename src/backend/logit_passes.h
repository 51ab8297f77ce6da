// Passes over one row of logits, in blocks: what sampling needs of a whole vocabulary.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/token.h"

namespace strata {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline constexpr std::size_t kLogitBlock = 256;

constexpr std::size_t logit_blocks(std::size_t vocab) { return (vocab + kLogitBlock - 1) / kLogitBlock; }

/// A token that may still be chosen.
struct Candidate {
  TokenId id = 0;
  float logit = 0;
  float weight = 0;
};

/// exp(x) for x <= 0 to about 1e-7 of itself; 0 below -87 and for NaN. The same bits on every machine.
float exp_negative(float x);

/// Whether no logit is NaN or infinite.
bool all_finite(std::span<const float> logits);

/// The largest of every block; a NaN counts as -infinity. out: [logit_blocks].
void block_maxima(std::span<const float> logits, std::span<float> out);

/// The sum of exp((x - max) * scale) of every block, in one order on every machine. `max` must be finite and no smaller
/// than any logit. out: [logit_blocks].
void block_masses(std::span<const float> logits, float max, float scale, std::span<double> out);

/// The tokens whose logits are at least `floor`, ascending, without weights; blocks below it aren't looked at.
void gather(std::span<const float> logits, std::span<const float> maxima, float floor, std::vector<Candidate>& out);

}  // namespace strata
