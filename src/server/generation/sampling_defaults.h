// How a model wants to be sampled where a request doesn't say.
#pragma once

#include <cstdint>

#include "base/json.h"

namespace strata {

/// One way of sampling.
struct SamplingDefault {
  float temperature = 0, top_p = 1, min_p = 0;
  std::int32_t top_k = 0;
  float repetition_penalty = 1;
};

/// By what is asked: thinking; with tools (whether thinking or not); neither.
struct SamplingDefaults {
  SamplingDefault thinking, tools, plain;

  const SamplingDefault& of(bool has_tools, bool thinks) const { return has_tools ? tools : thinks ? thinking : plain; }
};

/// What generation_config.json says counts most (temperature, top_p, top_k, min_p, repetition_penalty; `do_sample`:
/// false is greedy); for what it doesn't, the recommendations that NVIDIA gives with the checkpoint, told by its
/// configuration: Nano 1.0/1.0 to think, 0.6/0.95 with tools, greedy otherwise; Super and Ultra 1.0/0.95 for all. Other
/// models: 1.0/1.0. Throws Error{bad_model} naming a field that is out of range.
SamplingDefaults sampling_defaults(const Json& config, const Json& generation_config);

}  // namespace strata
