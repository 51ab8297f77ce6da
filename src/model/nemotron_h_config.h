// The configuration of a Nemotron-H model, in the words of its config.json.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace strata {

/// What a block mixes with; the letters of hybrid_override_pattern.
enum class BlockKind : char { mamba = 'M', moe = 'E', attention = '*', mlp = '-' };

/// "mamba", "moe", "attention", "mlp".
std::string_view name_of(BlockKind kind);

/// The dimensions of one mixture-of-experts block (they may differ from block to block).
struct MoeConfig {
  std::int64_t n_routed_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0;
  std::int64_t moe_shared_expert_intermediate_size = 0;  // 0: no shared expert
  std::int64_t moe_latent_size = 0;                      // 0: the experts see the hidden state itself
};

/// One block: its kind and, by kind, its own widths.
struct BlockConfig {
  BlockKind kind = BlockKind::mamba;
  std::int64_t intermediate_size = 0;  // mlp
  MoeConfig moe;                       // moe
};

struct NemotronHConfig {
  std::vector<BlockConfig> blocks;
  std::int64_t vocab_size = 0, hidden_size = 0, max_position_embeddings = 0;
  float layer_norm_epsilon = 1e-5f;
  bool tie_word_embeddings = false;

  // Attention.
  std::int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  // Mamba-2. The inner width is heads * head_dim; the key `expand` is not used.
  std::int64_t mamba_num_heads = 0, mamba_head_dim = 0, n_groups = 0, ssm_state_size = 0, conv_kernel = 0;
  bool use_conv_bias = true;
  float time_step_min = 0, time_step_max = std::numeric_limits<float>::infinity();  // time_step_limit
  // Router.
  std::int64_t n_group = 1, topk_group = 1;
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1;

  std::int64_t num_nextn_predict_layers = 0;  // multi-token prediction, which Strata doesn't run

  std::int64_t mamba_inner() const { return mamba_num_heads * mamba_head_dim; }
  std::int64_t conv_dim() const { return mamba_inner() + 2 * n_groups * ssm_state_size; }
  std::int64_t in_proj_dim() const { return mamba_inner() + conv_dim() + mamba_num_heads; }
  std::int64_t count(BlockKind kind) const;

  /// Reads config.json, both spellings of every key (an outer llm_config or text_config is entered), and checks that
  /// the dimensions fit each other. Throws Error{bad_model} that begins with `what` and names the key, what was
  /// expected and what was found.
  static NemotronHConfig parse(const Json& config, std::string_view what);
};

}  // namespace strata
