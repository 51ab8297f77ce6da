// Mamba-2 (Dao & Gu, 2024, arXiv:2405.21060):
//   [z | xBC | dt] = W_in h      xBC <- silu(conv1d(xBC))      y = SSD(x, dt, A, B, C) + D x
//   out = W_out norm(y * silu(z))
#include "model/layers/layers.h"

namespace strata {

void forward(const Mamba2& m, ConstMatrix h, const Step& step, Matrix out) {
  Backend& be = step.backend;
  Workspace& scratch = step.scratch;
  Workspace::Scope scope(scratch);
  const std::int64_t inner = m.out_proj->in_features;
  const std::int64_t conv_dim = m.conv1d_weight.rows;

  Matrix projected = scratch.take(h.rows, m.in_proj->out_features);
  be.linear(h, *m.in_proj, projected);
  Matrix z = projected.columns(0, inner);
  Matrix xBC = projected.columns(inner, conv_dim);
  Matrix dt = projected.columns(inner + conv_dim, m.ssd.D.size);

  Matrix convolved = scratch.take(h.rows, conv_dim);
  be.causal_conv1d_silu(step.batch, xBC, m.conv1d_weight, m.conv1d_bias, step.states.conv[m.state], convolved);
  Matrix y = scratch.take(h.rows, inner);
  be.ssd_scan(step.batch, convolved, dt, m.ssd, step.states.ssm[m.state], y);
  be.gated_rms_norm(y, z, m.norm, m.ssd.groups, m.norm_eps, y);
  be.linear(y, *m.out_proj, out);
}

std::int64_t workspace_bytes(const Mamba2& m, std::int64_t tokens) {
  return Workspace::bytes_for(tokens, m.in_proj->out_features) + Workspace::bytes_for(tokens, m.conv1d_weight.rows) +
         Workspace::bytes_for(tokens, m.out_proj->in_features);
}

}  // namespace strata
