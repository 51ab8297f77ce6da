// The mixers of the Nemotron-H family. Each reads h, [tokens, hidden_size], and writes out, the same shape.
#pragma once

#include <optional>

#include "model/step.h"

namespace strata {

struct Mamba2 {
  std::unique_ptr<Linear> in_proj, out_proj;
  Table conv1d_weight;  // [conv_dim, conv_kernel]
  Vector conv1d_bias, norm;
  SsdParameters ssd;
  float norm_eps = 1e-5f;
  std::size_t state = 0;  // index into LayerStates::conv and ::ssm
};

struct Attention {
  std::unique_ptr<Linear> q_proj, k_proj, v_proj, o_proj;
  std::size_t state = 0;  // index into LayerStates::kv
};

struct Mlp {
  std::unique_ptr<Linear> up_proj, down_proj;
};

struct Moe {
  Table gate;  // [experts, hidden_size]
  Vector e_score_correction_bias;
  std::int64_t experts_per_token = 0;
  RouterParameters router;
  std::unique_ptr<Linear> up_proj, down_proj;                // banks, one expert after the other
  std::unique_ptr<Linear> fc1_latent_proj, fc2_latent_proj;  // null: the experts see h itself
  std::optional<Mlp> shared_expert;
};

void forward(const Mamba2& m, ConstMatrix h, const Step& step, Matrix out);
void forward(const Attention& a, ConstMatrix h, const Step& step, Matrix out);
void forward(const Mlp& m, ConstMatrix h, const Step& step, Matrix out);
void forward(const Moe& m, ConstMatrix h, const Step& step, Matrix out);

/// Workspace that `forward` takes for so many tokens.
std::int64_t workspace_bytes(const Mamba2& m, std::int64_t tokens);
std::int64_t workspace_bytes(const Attention& a, std::int64_t tokens);
std::int64_t workspace_bytes(const Mlp& m, std::int64_t tokens);
std::int64_t workspace_bytes(const Moe& m, std::int64_t tokens);

}  // namespace strata
