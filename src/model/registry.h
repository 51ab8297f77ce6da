// The architectures that Strata runs, and how a checkpoint becomes a model.
#pragma once

#include <memory>

#include "model/model.h"
#include "model/weight_store.h"

namespace strata {

/// A model of the architecture that config.json names, bound to `weights`: a WeightStore loads it, a WeightList gives
/// its shape. Throws Error{bad_model} for an architecture that Strata doesn't run, naming those that it does.
std::unique_ptr<Model> bind_model(const Checkpoint& checkpoint, WeightSource& weights);

/// The same for a config.json by itself; `what` begins the messages.
std::unique_ptr<Model> bind_model(const Json& config, std::string_view what, WeightSource& weights);

/// Loads all weights. Throws Error{bad_model} if a tensor is missing, malformed, or of no use to the model; tensors of
/// multi-token prediction (`mtp.`), which Strata doesn't run, are let be.
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend, WeightStore::Progress progress = {});

/// Tensors that no weight of the model is made of, `mtp.` left out; to call once the model is bound.
std::vector<const TensorEntry*> useless_tensors(const CheckpointWeights& weights, const Json& config);

}  // namespace strata
