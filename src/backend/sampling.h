// How a token is chosen from logits: the one meaning that every backend's `sample` is held to.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/token.h"

namespace strata {

/// One request's wishes; the defaults are greedy. Applied in this order: the row's mask, logit bias, penalties,
/// temperature, top-k, top-p, min-p (each on what the ones before left), then one draw.
struct SamplingParameters {
  float temperature = 0;         // 0: the largest logit, the lowest id among equals
  std::int32_t top_k = 0;        // 0: all
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1): a token stays if its probability >= min_p times the largest
  float repetition_penalty = 1;  // > 0; over prompt and answer: a positive logit is divided, a negative one multiplied
  float presence_penalty = 0;    // subtracted once from a token that the answer has
  float frequency_penalty = 0;   // subtracted as often as the answer has it
  std::uint64_t seed = 0;
  bool logprobs = false;          // whether SampledToken::logprob is wanted: it costs a pass over the logits
  std::int32_t top_logprobs = 0;  // alternatives to report, 0..kMaxTopLogprobs; any imply `logprobs`
  std::vector<std::pair<TokenId, float>> logit_bias = {};  // added to the logits

  /// Whether a draw depends on the tokens so far, so that it can't run before they are known on the host.
  bool needs_history() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
  /// Throws Error{usage} naming the field, its value and the range, if one is outside it or `logit_bias` names a
  /// token outside [0, vocab).
  void validate(std::int64_t vocab) const;
};

inline constexpr std::int32_t kMaxTopLogprobs = 20;

/// What one row of logits is sampled with.
struct SamplingRow {
  const SamplingParameters* parameters = nullptr;
  std::uint64_t position = 0;  // of the chosen token within its sequence: with the seed, the counter of its draw
  std::span<const TokenId> prompt = {}, answer = {};  // read only where needs_history()
  /// A bit a token, token t being bit t % 32 of word t / 32, for the whole vocabulary; empty: all may be chosen. A
  /// token whose bit is 0 has logit -infinity, whatever bias and penalties say. At least one bit is set. Host memory,
  /// to be read before `sample` returns.
  std::span<const std::uint32_t> allowed = {};
  TokenId given = -1;  // a token, 0 or more, is reported on instead of a choice: a prompt's own
};

/// A chosen token. Log probabilities are of the model's own distribution (before masks, bias, penalties, temperature).
struct SampledToken {
  TokenId token = 0;
  float logprob = 0;  // NaN if some logit is NaN or infinite, asked for or not; else 0 unless asked for
};

/// Chooses from `logits` [vocab] as `row` says and fills the leading `top_logprobs` of `top_ids` and `top_logprobs`
/// (largest first, the lower id among equals; -1 and -infinity where the vocabulary is smaller). Never sorts the
/// vocabulary. The same logits, parameters and position give the same token: the draw is Philox4x32-10 of (seed,
/// position) (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), so neither batch nor order matter.
/// A NaN is never chosen unless all are; then, and where the largest logit is infinite, the choice is the greedy one.
/// What the mask forbids is never chosen.
/// Parameters must have passed `validate`.
SampledToken sample_row(std::span<const float> logits, const SamplingRow& row, std::span<TokenId> top_ids,
                        std::span<float> top_logprobs);

/// A uniform float in [0, 1) with 24 bits, drawn from (seed, position) alone.
float uniform(std::uint64_t seed, std::uint64_t position);

}  // namespace strata
