// A mixture of experts: a sigmoid router, top-k by biased score with weights from the unbiased ones, experts of
// down(relu(up(x))^2), in some models behind a latent projection; the shared expert always runs, on h itself.
#include <algorithm>

#include "model/layers/layers.h"

namespace strata {

void forward(const Moe& m, ConstMatrix h, const Step& step, Matrix out) {
  Backend& be = step.backend;
  Workspace& scratch = step.scratch;
  Workspace::Scope scope(scratch);
  Matrix logits = scratch.take(h.rows, m.gate.rows);
  Routing routing{scratch.take(h.rows, m.experts_per_token, DType::i32), scratch.take(h.rows, m.experts_per_token)};
  be.linear_f32(h, m.gate, logits);
  be.route(logits, m.e_score_correction_bias, m.router, routing);
  if (step.probe) step.probe->routing(logits, routing);

  if (m.fc1_latent_proj) {
    Matrix latent = scratch.take(h.rows, m.fc1_latent_proj->out_features);
    Matrix routed = scratch.take(h.rows, m.fc1_latent_proj->out_features);
    be.linear(h, *m.fc1_latent_proj, latent);
    be.experts(latent, routing, *m.up_proj, *m.down_proj, routed);
    be.linear(routed, *m.fc2_latent_proj, out);
  } else {
    be.experts(h, routing, *m.up_proj, *m.down_proj, out);
  }
  if (m.shared_expert) {
    Matrix shared = scratch.take(h.rows, out.cols);
    forward(*m.shared_expert, h, step, shared);
    be.add(shared, out);
  }
}

std::int64_t workspace_bytes(const Moe& m, std::int64_t tokens) {
  std::int64_t bytes = Workspace::bytes_for(tokens, m.gate.rows) +
                       Workspace::bytes_for(tokens, m.experts_per_token, DType::i32) +
                       Workspace::bytes_for(tokens, m.experts_per_token);
  if (m.fc1_latent_proj) bytes += 2 * Workspace::bytes_for(tokens, m.fc1_latent_proj->out_features);
  if (m.shared_expert) {
    bytes += Workspace::bytes_for(tokens, m.shared_expert->down_proj->out_features) +
             workspace_bytes(*m.shared_expert, tokens);
  }
  return bytes;
}

}  // namespace strata
