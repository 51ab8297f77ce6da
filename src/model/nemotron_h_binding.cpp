// Which tensors a Nemotron-H model is made of: names and shapes, block by block.
#include "model/nemotron_h.h"

namespace strata {
namespace {

/// What the blocks of one kind share while they are bound. Fields are set one by one: GCC 12 destroys what an aggregate
/// already has twice if a later initialiser throws.
struct Binder {
  WeightSource& weights;
  const NemotronHConfig& c;
  StateShape& state;

  Mamba2 mamba2(const std::string& mixer) const {
    state.mamba.push_back({c.conv_dim(), c.conv_kernel, c.mamba_num_heads, c.mamba_head_dim, c.ssm_state_size});
    Mamba2 m;
    m.in_proj = weights.linear(mixer + "in_proj", c.in_proj_dim(), c.hidden_size);
    m.out_proj = weights.linear(mixer + "out_proj", c.hidden_size, c.mamba_inner());
    m.conv1d_weight = weights.table(mixer + "conv1d.weight", c.conv_dim(), c.conv_kernel);
    m.conv1d_bias = c.use_conv_bias ? weights.vector(mixer + "conv1d.bias", c.conv_dim()) : weights.zeros(c.conv_dim());
    m.norm = weights.vector(mixer + "norm.weight", c.mamba_inner());
    m.ssd.A_log = weights.vector(mixer + "A_log", c.mamba_num_heads);
    m.ssd.D = weights.vector(mixer + "D", c.mamba_num_heads);
    m.ssd.dt_bias = weights.vector(mixer + "dt_bias", c.mamba_num_heads);
    m.ssd.groups = c.n_groups;
    m.ssd.dt_min = c.time_step_min;
    m.ssd.dt_max = c.time_step_max;
    m.norm_eps = c.layer_norm_epsilon;
    m.state = state.mamba.size() - 1;
    return m;
  }

  Attention attention(const std::string& mixer) const {
    const std::int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
    const float k_scale = weights.scalar(mixer + "k_proj.k_scale").value_or(1);
    const float v_scale = weights.scalar(mixer + "v_proj.v_scale").value_or(1);
    state.attention.push_back({c.num_key_value_heads, c.head_dim, k_scale, v_scale});
    Attention a;
    a.q_proj = weights.linear(mixer + "q_proj", q, c.hidden_size);
    a.k_proj = weights.linear(mixer + "k_proj", kv, c.hidden_size);
    a.v_proj = weights.linear(mixer + "v_proj", kv, c.hidden_size);
    a.o_proj = weights.linear(mixer + "o_proj", c.hidden_size, q);
    a.state = state.attention.size() - 1;
    return a;
  }

  Mlp mlp(const std::string& mixer, std::int64_t width) const {
    Mlp m;
    m.up_proj = weights.linear(mixer + "up_proj", width, c.hidden_size);
    m.down_proj = weights.linear(mixer + "down_proj", c.hidden_size, width);
    return m;
  }

  Moe moe(const std::string& mixer, const MoeConfig& e) const {
    const std::int64_t width = e.moe_latent_size ? e.moe_latent_size : c.hidden_size, n = e.n_routed_experts;
    Moe m;
    m.gate = weights.table(mixer + "gate.weight", n, c.hidden_size);
    m.e_score_correction_bias = weights.vector(mixer + "gate.e_score_correction_bias", n);
    m.experts_per_token = e.num_experts_per_tok;
    m.router = {c.n_group, c.topk_group, c.norm_topk_prob, c.routed_scaling_factor};
    m.up_proj = weights.experts(mixer + "experts", "up_proj", n, e.moe_intermediate_size, width);
    m.down_proj = weights.experts(mixer + "experts", "down_proj", n, width, e.moe_intermediate_size);
    if (e.moe_latent_size) {
      m.fc1_latent_proj = weights.linear(mixer + "fc1_latent_proj", width, c.hidden_size);
      m.fc2_latent_proj = weights.linear(mixer + "fc2_latent_proj", c.hidden_size, width);
    }
    if (e.moe_shared_expert_intermediate_size) {
      m.shared_expert = mlp(mixer + "shared_experts.", e.moe_shared_expert_intermediate_size);
    }
    return m;
  }

  Block block(std::size_t index) const {
    const std::string prefix = "backbone.layers." + std::to_string(index) + ".", mixer = prefix + "mixer.";
    Block b;
    b.norm = weights.vector(prefix + "norm.weight", c.hidden_size);
    switch (c.blocks[index].kind) {
      case BlockKind::mamba:
        b.mixer = mamba2(mixer);
        break;
      case BlockKind::attention:
        b.mixer = attention(mixer);
        break;
      case BlockKind::moe:
        b.mixer = moe(mixer, c.blocks[index].moe);
        break;
      case BlockKind::mlp:
        b.mixer = mlp(mixer, c.blocks[index].intermediate_size);
        break;
    }
    return b;
  }
};

}  // namespace

NemotronH::NemotronH(WeightSource& weights, NemotronHConfig config) : config_(std::move(config)) {
  const NemotronHConfig& c = config_;
  embeddings_ = weights.linear("backbone.embeddings", c.vocab_size, c.hidden_size);
  const Binder binder{weights, c, state_shape_};
  for (std::size_t b = 0; b < c.blocks.size(); ++b) blocks_.push_back(binder.block(b));
  norm_f_ = weights.vector("backbone.norm_f.weight", c.hidden_size);
  if (!c.tie_word_embeddings) lm_head_ = weights.linear("lm_head", c.vocab_size, c.hidden_size);
}

}  // namespace strata
