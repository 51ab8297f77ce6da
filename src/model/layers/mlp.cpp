// out = W_down relu(W_up h)^2
#include "model/layers/layers.h"

namespace strata {

void forward(const Mlp& m, ConstMatrix h, const Step& step, Matrix out) {
  Backend& be = step.backend;
  Workspace::Scope scope(step.scratch);
  Matrix up = step.scratch.take(h.rows, m.up_proj->out_features);
  be.linear(h, *m.up_proj, up);
  be.relu_squared(up, up);
  be.linear(up, *m.down_proj, out);
}

std::int64_t workspace_bytes(const Mlp& m, std::int64_t tokens) {
  return Workspace::bytes_for(tokens, m.up_proj->out_features);
}

}  // namespace strata
