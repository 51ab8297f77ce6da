// Nemotron-H: a stack of blocks, x <- x + mixer(norm(x)), whose mixers the checkpoint's pattern names.
#pragma once

#include <variant>
#include <vector>

#include "model/layers/layers.h"
#include "model/model.h"
#include "model/nemotron_h_config.h"
#include "model/weight_source.h"

namespace strata {

struct Block {
  Vector norm;
  std::variant<Mamba2, Attention, Moe, Mlp> mixer;  // pattern letters M, *, E, -
};

class NemotronH : public Model {
 public:
  /// Takes every weight that the configuration asks for; Error{bad_model} if one isn't as it should be.
  NemotronH(WeightSource& weights, NemotronHConfig config);

  void forward(const Step& step, Matrix logits) const override;

  std::int64_t vocab_size() const override { return config_.vocab_size; }
  std::int64_t max_context() const override { return config_.max_position_embeddings; }
  const StateShape& state_shape() const override { return state_shape_; }
  std::int64_t workspace_bytes(std::int64_t tokens, std::int64_t logit_rows) const override;
  WorkLimits work_limits() const override;
  const NemotronHConfig& config() const { return config_; }

 private:
  NemotronHConfig config_;
  StateShape state_shape_;
  std::unique_ptr<Linear> embeddings_;  // [vocab, hidden_size]
  std::vector<Block> blocks_;
  Vector norm_f_;
  std::unique_ptr<Linear> lm_head_;  // null: the embeddings, tied
};

}  // namespace strata
