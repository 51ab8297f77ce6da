// What the engine knows of a model: a forward pass, and the state it leaves behind.
#pragma once

#include <cstdint>
#include <string>

#include "model/step.h"

namespace strata {

/// A loaded model; never changes. What a sequence leaves behind is in LayerStates.
class Model {
 public:
  virtual ~Model() = default;

  /// Advances the batch's sequences by their tokens and writes the logits it asks for, f32 [logit_rows, vocab].
  virtual void forward(const Step& step, Matrix logits) const = 0;

  virtual std::int64_t vocab_size() const = 0;
  /// Longest sequence that the configuration allows (max_position_embeddings).
  virtual std::int64_t max_context() const = 0;
  virtual const StateShape& state_shape() const = 0;
  /// Workspace that a step of so many tokens and logit rows needs, logits not included.
  virtual std::int64_t workspace_bytes(std::int64_t tokens, std::int64_t logit_rows) const = 0;
  /// The model's dimensions in what a backend must be ready for; tokens, rows, sequences and slots are left 0.
  virtual WorkLimits work_limits() const = 0;
};

}  // namespace strata
