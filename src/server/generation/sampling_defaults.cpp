#include "server/generation/sampling_defaults.h"

#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"

namespace strata {
namespace {

enum class Family { nano, super, other };

/// The members differ in what they mix: Nano has 128 experts and a hidden size of 2,688, Super and Ultra 512 experts.
Family family_of(const Json& config) {
  const auto number = [&](const char* field) {
    const auto value = config.find(field);
    return value != config.end() && value->is_number_integer() ? value->get<std::int64_t>() : 0;
  };
  if (number("n_routed_experts") == 128 && number("hidden_size") == 2688) return Family::nano;
  if (number("n_routed_experts") == 512) return Family::super;
  return Family::other;
}

SamplingDefault sampled(float temperature, float top_p) {
  SamplingDefault way;
  way.temperature = temperature;
  way.top_p = top_p;
  return way;
}

SamplingDefaults recommended(const Json& config) {
  SamplingDefaults ways;
  ways.thinking = ways.tools = ways.plain = sampled(1, 1);
  switch (family_of(config)) {
    case Family::nano:
      ways.tools = sampled(0.6F, 0.95F);
      ways.plain = sampled(0, 1);
      break;
    case Family::super:
      ways.thinking = ways.tools = ways.plain = sampled(1, 0.95F);
      break;
    case Family::other:
      break;
  }
  return ways;
}

[[noreturn]] void refuse(const std::string& field, const Json& value, const std::string& expected) {
  throw Error(ErrorCode::bad_model,
              "generation_config.json, " + field + ": expected " + expected + ", found " + value.dump());
}

}  // namespace

SamplingDefaults sampling_defaults(const Json& config, const Json& generation_config) {
  SamplingDefaults ways = recommended(config);
  const auto set = [&](const char* field, double low, double high, auto member) {
    const auto value = generation_config.find(field);
    if (value == generation_config.end() || value->is_null()) return;
    if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
      refuse(field, *value, "a number from " + std::to_string(low) + " to " + std::to_string(high));
    for (SamplingDefault* way : {&ways.thinking, &ways.tools, &ways.plain}) {
      auto& target = way->*member;
      target = value->get<std::remove_reference_t<decltype(target)>>();
    }
  };
  set("temperature", 0, 2, &SamplingDefault::temperature);
  set("top_p", 1e-6, 1, &SamplingDefault::top_p);
  set("top_k", 0, std::numeric_limits<std::int32_t>::max(), &SamplingDefault::top_k);
  set("min_p", 0, 0.999, &SamplingDefault::min_p);
  set("repetition_penalty", 0.01, 10, &SamplingDefault::repetition_penalty);
  const auto sample = generation_config.find("do_sample");
  if (sample == generation_config.end() || sample->is_null()) return ways;
  if (!sample->is_boolean()) refuse("do_sample", *sample, "true or false");
  if (!sample->get<bool>())
    for (SamplingDefault* way : {&ways.thinking, &ways.tools, &ways.plain}) way->temperature = 0;
  return ways;
}

}  // namespace strata
