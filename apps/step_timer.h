// Steps as the engine makes them, timed.
#pragma once

#include <chrono>
#include <random>
#include <vector>

#include "backend/backend.h"
#include "model/model.h"
#include "state/state_pool.h"

namespace strata {

/// Chunks of prompts whose last position is sampled from, and steps of one token a sequence, each sampled from too.
/// The tokens are random and not those sampled: an answer of a random model runs into a loop that touches few experts.
class StepTimer {
 public:
  struct Limits {
    std::int64_t chunk = 512;    // tokens of a step
    std::int64_t context = 0;    // of a sequence
    std::int64_t sequences = 1;  // that decode at a time
    DType kv_type = DType::bf16;
  };
  /// Both must outlive it. Throws Error{out_of_memory}.
  StepTimer(const Model& model, Backend& backend, const Limits& limits);

  const StateLayout& layout() const { return pool_.layout(); }

  struct Seconds {
    double prompt = 0, generation = 0;
  };
  /// `sequences` new sequences of `depth` tokens each, which aren't timed, then `prompt` tokens of each, one sequence
  /// after the other, and `generated` steps of one token of each.
  Seconds measure(std::int64_t sequences, std::int64_t depth, std::int64_t prompt, std::int64_t generated);

 private:
  void feed(SequenceState& state, std::int64_t count);
  void step(std::span<SequenceState> states, std::int64_t count, bool sampled);
  void sample(const StagedBatch& batch, Matrix logits, std::uint64_t position);

  const Model& model_;
  Backend& backend_;
  Limits limits_;
  StatePool pool_;
  Workspace workspace_;
  Buffer logits_, samples_;
  SamplingParameters greedy_;
  std::mt19937_64 random_{1};
  std::vector<TokenId> tokens_;  // of a step
  std::vector<SequenceRows> rows_;
  std::vector<std::int32_t> logit_rows_;
  std::vector<SamplingRow> sampling_rows_;
};

}  // namespace strata
