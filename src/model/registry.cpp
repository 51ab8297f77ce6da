#include "model/registry.h"

#include "base/error.h"
#include "model/config_reader.h"
#include "model/nemotron_h.h"

namespace strata {
namespace {

using Bind = std::unique_ptr<Model> (*)(const Json& config, std::string_view what, WeightSource& weights);

std::unique_ptr<Model> bind_nemotron_h(const Json& config, std::string_view what, WeightSource& weights) {
  return std::make_unique<NemotronH>(weights, NemotronHConfig::parse(config, what));
}

struct Architecture {
  std::string_view name, model_type;
  Bind bind;
};

constexpr Architecture kArchitectures[] = {
    {"NemotronHForCausalLM", "nemotron_h", bind_nemotron_h},
    {"NemotronHPuzzleForCausalLM", "nemotron_h_puzzle", bind_nemotron_h},
};

const Architecture& architecture_of(const Json& config, std::string_view what) {
  const ConfigReader reader(config, std::string(what));
  std::string found;
  if (const Json* names = reader.find({"architectures"});
      names && names->is_array() && !names->empty() && (*names)[0].is_string()) {
    found = (*names)[0].get<std::string>();
    for (const Architecture& a : kArchitectures) {
      if (a.name == found) return a;
    }
  }
  const std::string type = reader.text({"model_type"}).value_or("");
  for (const Architecture& a : kArchitectures) {
    if (a.model_type == type) return a;
  }
  if (const Json* inner = reader.find({"llm_config", "text_config"})) return architecture_of(*inner, what);
  reader.fail("architectures", "Strata runs NemotronHForCausalLM, found " +
                                   (found.empty() ? "model_type \"" + type + "\"" : "\"" + found + "\""));
}

}  // namespace

std::unique_ptr<Model> bind_model(const Json& config, std::string_view what, WeightSource& weights) {
  return architecture_of(config, what).bind(config, what, weights);
}

std::unique_ptr<Model> bind_model(const Checkpoint& checkpoint, WeightSource& weights) {
  return bind_model(checkpoint.config(), (checkpoint.folder() / "config.json").string(), weights);
}

std::vector<const TensorEntry*> useless_tensors(const CheckpointWeights& weights, const Json& config) {
  if (const Json* inner = ConfigReader(config, "config.json").find({"llm_config", "text_config"})) {
    return useless_tensors(weights, *inner);
  }
  std::vector<std::string> ignored{"mtp."};
  // A tied model may carry its embeddings twice.
  const auto tied = config.find("tie_word_embeddings");
  if (tied != config.end() && *tied == true) ignored.push_back("lm_head.");
  return weights.unused(ignored);
}

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend, WeightStore::Progress progress) {
  CheckpointWeights weights(checkpoint);
  WeightStore store(weights, backend, std::move(progress));
  auto model = bind_model(checkpoint, store);
  if (const auto useless = useless_tensors(weights, checkpoint.config()); !useless.empty()) {
    throw Error(ErrorCode::bad_model, checkpoint.folder().string() + ": config.json's model has no use for " +
                                          std::to_string(useless.size()) + " tensors, " + useless[0]->name +
                                          " among them; is config.json the one of these weights?");
  }
  return model;
}

}  // namespace strata
