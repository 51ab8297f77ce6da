// What a checkpoint declares about its quantisation; the tensors have the last word.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace strata {

/// The formats that a declaration can ask for, and that Strata computes with.
enum class QuantAlgorithm { none, fp8, nvfp4, w4a16_nvfp4 };

/// "none", "FP8", "NVFP4", "W4A16_NVFP4".
std::string_view name_of(QuantAlgorithm algorithm);

struct QuantRules;

/// hf_quant_config.json, whole or its `quantization` alone, or config.json's `quantization_config`: ModelOpt plain or
/// MIXED_PRECISION, or compressed-tensors. Cheap to copy; declared() is thread-safe.
class QuantConfig {
 public:
  /// Throws Error{bad_model} for an algorithm, a group size or a method that Strata doesn't compute with, by name, and
  /// for an `re:` pattern that does not compile. `what` begins the messages (the file and the key).
  static QuantConfig parse(const Json& declaration, std::string_view what);

  /// What `module` ("backbone.layers.4.mixer.in_proj", without ".weight") is declared to be: exclusion beats inclusion;
  /// exact names, then the bare substrings of old producers, globs and `re:` patterns. A name that stands for a
  /// container stands for all in it; a container of experts is what its first child is. Never quantised, whatever is
  /// declared: conv1d, norms, the router (".gate"), A_log, D, dt_bias, e_score_correction_bias; embeddings only by
  /// name. Names are compared as normalise_module() leaves them. Throws Error{bad_model} if an `re:` pattern needs more
  /// backtracking than any sane one does.
  QuantAlgorithm declared(std::string_view module) const;
  /// Whether keys and values are declared FP8.
  bool fp8_kv_cache() const { return fp8_kv_cache_; }
  /// "modelopt 0.29.0, NVFP4" for inspect.
  const std::string& description() const { return description_; }

 private:
  std::shared_ptr<const QuantRules> rules_;  // null: nothing is quantised
  bool fp8_kv_cache_ = false;
  std::string description_;
};

/// The name that declarations and modules are compared by: without a leading `language_model.`, then a leading `model.`
/// as `backbone.`.
std::string normalise_module(std::string_view module);

}  // namespace strata
