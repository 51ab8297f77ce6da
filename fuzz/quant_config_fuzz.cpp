// A declaration of quantisation of any bytes is refused by an Error or answers for every module, pattern limits
// included.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "checkpoint/quant_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto config = strata::QuantConfig::parse(strata::parse_json(text, "fuzz"), "fuzz");
    CHECK(!config.description().empty(), "a declaration can be described");
    for (const std::string_view module :
         {std::string_view("backbone.layers.4.mixer.in_proj"), std::string_view("lm_head"), std::string_view(),
          std::string_view("language_model.model.layers.1.mixer.experts.10.up_proj"), text.substr(0, 64)})
      config.declared(module);
    CHECK(config.declared("backbone.layers.4.mixer.conv1d") == strata::QuantAlgorithm::none, "conv1d never is");
  } catch (const strata::Error&) {
  }
  return 0;
}
