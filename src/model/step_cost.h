// What a step must read and compute at the least: the floor that a measured time is held against.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"
#include "model/weight_source.h"
#include "state/state_layout.h"

namespace strata {

/// A weight of a model and what it takes in its backend's memory.
struct WeightCost {
  WeightRequest request;
  std::int64_t bytes = 0;
};

/// A step of `sequences` sequences that bring `tokens` tokens each, and stand at `position` before it.
struct StepShape {
  std::int64_t sequences = 1, tokens = 1, position = 0;
  std::int64_t logit_rows = 1;  // in all
};

struct StepCost {
  double bytes = 0;             // read, and of the recurrent state written too
  double operations = 0;        // floating point, a multiply-add being two
  double distinct_experts = 0;  // that a layer is expected to read; 0 if there are none
};

/// Weights count once a step (of a bank, the experts that uniform, independent routing is expected to choose; of the
/// embedding its rows, and all of it where it is the output layer too), a sequence's recurrent state twice (read,
/// written), its keys and values once. Operations are those of linear layers, the router, the scan and attention.
StepCost cost_of(const std::vector<WeightCost>& weights, const Model& model, const StateLayout& layout,
                 const StepShape& shape);

}  // namespace strata
