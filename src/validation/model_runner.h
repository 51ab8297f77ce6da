// Runs a model step by step, as a test or `strata validate` says: which sequences, in which pieces.
#pragma once

#include <span>
#include <vector>

#include "model/model.h"
#include "state/state_pool.h"

namespace strata {

/// Logits on the host, a row a position.
struct Logits {
  std::int64_t rows = 0, vocab = 0;
  std::vector<float> values;
  std::span<const float> row(std::int64_t r) const {
    return {values.data() + r * vocab, static_cast<std::size_t>(vocab)};
  }
  /// Appends `more`'s rows.
  void append(const Logits& more);
  /// The same bits (so NaN equals the same NaN, and 0 differs from -0).
  bool same_bits(const Logits& other) const;
};

/// The largest value's index, the lowest among equals.
TokenId largest(std::span<const float> logits);

struct RunnerLimits {
  std::int64_t tokens = 512;    // of a step
  std::int64_t sequences = 4;   // alive at a time
  std::int64_t context = 2048;  // of a sequence
  DType kv_type = DType::bf16;
};

class ModelRunner {
 public:
  /// One sequence's part of a step, all of whose positions' logits are wanted.
  struct Work {
    SequenceState* state;
    std::span<const TokenId> tokens;
  };

  /// Both must outlive it.
  ModelRunner(const Model& model, Backend& backend, const RunnerLimits& limits);

  StatePool& pool() { return pool_; }
  Backend& backend() { return backend_; }
  const Model& model() const { return model_; }
  const RunnerLimits& limits() const { return limits_; }
  /// A sequence that has seen nothing, with pages for the whole context. There must be one free.
  SequenceState fresh();
  /// One step: the logits of every new position, in the order of `work`.
  Logits step(std::span<const Work> work, Probe* probe = nullptr);
  /// `tokens` appended to `state`, `chunk` a step (at most limits().tokens).
  Logits feed(SequenceState& state, std::span<const TokenId> tokens, std::int64_t chunk, Probe* probe = nullptr);
  /// The answer of largest logits to `prompt`, `count` tokens.
  std::vector<TokenId> greedy(std::span<const TokenId> prompt, std::int64_t count);

 private:
  const Model& model_;
  Backend& backend_;
  RunnerLimits limits_;
  StatePool pool_;
  Workspace workspace_;
};

}  // namespace strata
