#include "model/step_cost.h"

#include <algorithm>
#include <cmath>

namespace strata {
namespace {

double product(const WeightRequest& r) { return static_cast<double>(r.rows) * static_cast<double>(r.cols); }

/// Of `experts`, those that `tokens` tokens of `chosen` each are expected to reach.
double expected_distinct(double experts, double chosen, double tokens) {
  return experts * (1 - std::pow(1 - chosen / experts, tokens));
}

}  // namespace

StepCost cost_of(const std::vector<WeightCost>& weights, const Model& model, const StateLayout& layout,
                 const StepShape& shape) {
  StepCost cost;
  const WorkLimits dimensions = model.work_limits();
  const auto sequences = static_cast<double>(shape.sequences);
  const double tokens = sequences * static_cast<double>(shape.tokens);
  const auto logit_rows = static_cast<double>(shape.logit_rows);
  const bool tied =
      std::none_of(weights.begin(), weights.end(), [](const WeightCost& w) { return w.request.name == "lm_head"; });
  double query_features = 0;  // of all attention layers
  for (const auto& [request, packed] : weights) {
    const auto bytes = static_cast<double>(packed);
    if (request.kind == WeightRequest::Kind::experts) {
      const auto experts = static_cast<double>(request.n), chosen = static_cast<double>(dimensions.experts_per_token);
      cost.distinct_experts = expected_distinct(experts, chosen, tokens);
      cost.bytes += bytes * cost.distinct_experts / experts;
      cost.operations += 2 * product(request) * chosen * tokens;
    } else if (request.name == "backbone.embeddings") {
      cost.bytes += bytes / static_cast<double>(request.rows) * tokens;
      if (tied && logit_rows > 0) cost.bytes += bytes;
      if (tied) cost.operations += 2 * product(request) * logit_rows;
    } else if (request.name == "lm_head") {
      if (logit_rows > 0) cost.bytes += bytes;
      cost.operations += 2 * product(request) * logit_rows;
    } else {
      cost.bytes += bytes;
      if (request.kind == WeightRequest::Kind::linear || request.kind == WeightRequest::Kind::table)
        cost.operations += 2 * product(request) * tokens;
      if (request.name.ends_with(".q_proj")) query_features += static_cast<double>(request.rows);
    }
  }
  cost.bytes += 2 * sequences * static_cast<double>(layout.slot_bytes());
  for (const MambaStateShape& m : layout.shape.mamba) {
    // S <- a S + (dt x) B^T and y = S C: a multiply and two multiply-adds an element.
    cost.operations += 5 * static_cast<double>(m.heads * m.head_dim * m.state_size) * tokens;
  }
  const double seen = static_cast<double>(shape.position) + (static_cast<double>(shape.tokens) + 1) / 2;  // on average
  cost.bytes += sequences * static_cast<double>(layout.kv_bytes_per_token() * (shape.position + shape.tokens));
  cost.operations += 4 * query_features * seen * tokens;  // q K^T and the weighted sum of V
  return cost;
}

}  // namespace strata
