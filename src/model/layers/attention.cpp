// Causal grouped-query attention, with no positional encoding (as in Nemotron-H).
#include <cmath>

#include "model/layers/layers.h"

namespace strata {

void forward(const Attention& a, ConstMatrix h, const Step& step, Matrix out) {
  Backend& be = step.backend;
  Workspace& scratch = step.scratch;
  Workspace::Scope scope(scratch);
  Matrix q = scratch.take(h.rows, a.q_proj->out_features);
  Matrix k = scratch.take(h.rows, a.k_proj->out_features);
  Matrix v = scratch.take(h.rows, a.v_proj->out_features);
  be.linear(h, *a.q_proj, q);
  be.linear(h, *a.k_proj, k);
  be.linear(h, *a.v_proj, v);

  KvPages& cache = step.states.kv[a.state];
  be.append_kv(step.batch, k, v, cache);
  Matrix attended = scratch.take(h.rows, q.cols);
  be.attention(step.batch, q, cache, 1.0f / std::sqrt(static_cast<float>(cache.head_dim)), attended);
  be.linear(attended, *a.o_proj, out);
}

std::int64_t workspace_bytes(const Attention& a, std::int64_t tokens) {
  return 2 * Workspace::bytes_for(tokens, a.q_proj->out_features) +
         2 * Workspace::bytes_for(tokens, a.k_proj->out_features);
}

}  // namespace strata
