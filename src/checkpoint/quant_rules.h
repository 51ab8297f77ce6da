// What a declaration of quantisation says, in the form that look-ups need.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "checkpoint/module_pattern.h"
#include "checkpoint/quant_config.h"

namespace strata {

struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
};

/// All names are as normalise_module() leaves them.
struct QuantRules {
  using Names = std::unordered_map<std::string, QuantAlgorithm, NameHash, std::equal_to<>>;

  Names exact;
  /// "backbone.layers.1.mixer.experts": what its first child is.
  Names experts;
  std::vector<std::pair<ModulePattern, QuantAlgorithm>> patterns;
  /// Linears that nothing else names.
  QuantAlgorithm otherwise = QuantAlgorithm::none;
  std::unordered_set<std::string, NameHash, std::equal_to<>> excluded;
  std::vector<ModulePattern> excluded_patterns;
};

}  // namespace strata
