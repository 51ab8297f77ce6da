// A config.json of any bytes is refused by an Error or describes a model of bounded size.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "model/nemotron_h_config.h"
#include "model/registry.h"
#include "model/weight_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const strata::Json config = strata::parse_json(text, "fuzz");
    strata::NemotronHConfig::parse(config, "fuzz");
    strata::WeightList weights;
    const auto model = strata::bind_model(config, "fuzz", weights);
    CHECK(model != nullptr, "a config that is accepted has a model");
    CHECK(!weights.requests().empty(), "a model has weights");
  } catch (const strata::Error&) {
  }
  return 0;
}
