// Looks modules up in a declaration of quantisation.
#include "checkpoint/quant_config.h"

#include <algorithm>

#include "base/check.h"
#include "checkpoint/quant_rules.h"

namespace strata {
namespace {

std::string_view last_part(std::string_view module) { return module.substr(module.rfind('.') + 1); }

std::string_view parent_of(std::string_view module) {
  const auto dot = module.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : module.substr(0, dot);
}

/// What no export quantises; old ones omit some of it from their exclusions, and some were exported corrupted.
bool is_never_quantised(std::string_view module) {
  constexpr std::string_view kNames[] = {"conv1d", "gate", "A_log", "D", "dt_bias", "e_score_correction_bias"};
  const std::string_view name = last_part(module);
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || name.ends_with("norm") ||
         name == "norm_f";
}

bool is_embedding(std::string_view module) {
  const std::string_view name = last_part(module);
  return name == "embeddings" || name == "embed_tokens";
}

bool is_excluded(const QuantRules& rules, std::string_view module, const std::vector<std::string>& spellings) {
  if (!rules.excluded.empty())
    for (std::string_view name = module; !name.empty(); name = parent_of(name))
      if (rules.excluded.find(name) != rules.excluded.end()) return true;
  return std::any_of(rules.excluded_patterns.begin(), rules.excluded_patterns.end(),
                     [&](const ModulePattern& pattern) { return pattern.matches(spellings); });
}

}  // namespace

std::string_view name_of(QuantAlgorithm algorithm) {
  switch (algorithm) {
    case QuantAlgorithm::none:
      return "none";
    case QuantAlgorithm::fp8:
      return "FP8";
    case QuantAlgorithm::nvfp4:
      return "NVFP4";
    case QuantAlgorithm::w4a16_nvfp4:
      return "W4A16_NVFP4";
  }
  check_failed("algorithm", __FILE__, __LINE__, "no such QuantAlgorithm");
}

std::string normalise_module(std::string_view module) {
  constexpr std::string_view kOuter = "language_model.", kModel = "model.";
  if (module.starts_with(kOuter)) module.remove_prefix(kOuter.size());
  if (!module.starts_with(kModel)) return std::string(module);
  return "backbone." + std::string(module.substr(kModel.size()));
}

QuantAlgorithm QuantConfig::declared(std::string_view module) const {
  if (!rules_) return QuantAlgorithm::none;
  const std::string name = normalise_module(module);
  if (name.empty() || is_never_quantised(name)) return QuantAlgorithm::none;
  std::vector<std::string> spellings;
  if (!rules_->excluded_patterns.empty() || !rules_->patterns.empty()) spellings = module_spellings(name);
  if (is_excluded(*rules_, name, spellings)) return QuantAlgorithm::none;

  if (const auto found = rules_->exact.find(name); found != rules_->exact.end()) return found->second;
  const std::string_view parent = parent_of(name);
  for (const std::string_view container : {std::string_view(name), parent})
    if (const auto found = rules_->experts.find(container); found != rules_->experts.end()) return found->second;
  if (!rules_->exact.empty())
    for (std::string_view outer = parent; !outer.empty(); outer = parent_of(outer))
      if (const auto found = rules_->exact.find(outer); found != rules_->exact.end()) return found->second;
  for (const auto& [pattern, algorithm] : rules_->patterns)
    if (pattern.matches(spellings)) return algorithm;
  return is_embedding(name) ? QuantAlgorithm::none : rules_->otherwise;
}

}  // namespace strata
