#include "model/nemotron_h.h"

#include <algorithm>

namespace strata {

void NemotronH::forward(const Step& step, Matrix logits) const {
  Backend& be = step.backend;
  Workspace& scratch = step.scratch;
  Workspace::Scope scope(scratch);
  const auto tokens = static_cast<std::int64_t>(step.batch.host.tokens.size());
  Matrix x = scratch.take(tokens, config_.hidden_size);
  Matrix h = scratch.take(tokens, config_.hidden_size);
  Matrix mixed = scratch.take(tokens, config_.hidden_size);

  be.embed(step.batch, *embeddings_, x);
  for (const Block& block : blocks_) {
    if (step.probe) step.probe->residual(static_cast<std::size_t>(&block - blocks_.data()), x);
    be.rms_norm(x, block.norm, config_.layer_norm_epsilon, h);
    std::visit([&](const auto& mixer) { strata::forward(mixer, h, step, mixed); }, block.mixer);
    be.add(mixed, x);
  }
  if (step.probe) step.probe->residual(blocks_.size(), x);

  if (logits.rows == 0) return;
  Matrix last = scratch.take(logits.rows, config_.hidden_size);
  Matrix normed = scratch.take(logits.rows, config_.hidden_size);
  be.gather_logit_rows(step.batch, x, last);
  be.rms_norm(last, norm_f_, config_.layer_norm_epsilon, normed);
  if (step.probe) step.probe->final_norm(normed);
  be.linear(normed, lm_head_ ? *lm_head_ : *embeddings_, logits);
}

std::int64_t NemotronH::workspace_bytes(std::int64_t tokens, std::int64_t logit_rows) const {
  std::int64_t mixer = 0;
  for (const Block& block : blocks_) {
    mixer = std::max(mixer, std::visit([&](const auto& m) { return strata::workspace_bytes(m, tokens); }, block.mixer));
  }
  const std::int64_t head = 2 * Workspace::bytes_for(logit_rows, config_.hidden_size);
  return 3 * Workspace::bytes_for(tokens, config_.hidden_size) + std::max(mixer, head);
}

WorkLimits NemotronH::work_limits() const {
  const NemotronHConfig& c = config_;
  WorkLimits limits;
  limits.features = std::max({c.hidden_size, c.num_attention_heads * c.head_dim, c.mamba_inner()});
  for (const BlockConfig& b : c.blocks) {
    limits.features = std::max(
        {limits.features, b.intermediate_size, b.moe.moe_shared_expert_intermediate_size, b.moe.moe_latent_size});
    limits.experts = std::max(limits.experts, b.moe.n_routed_experts);
    limits.experts_per_token = std::max(limits.experts_per_token, b.moe.num_experts_per_tok);
    limits.expert_features = std::max(limits.expert_features, b.moe.moe_intermediate_size);
  }
  return limits;
}

}  // namespace strata
