// Which tensors a synthetic checkpoint has, and what each is filled with.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "checkpoint/quant_config.h"
#include "checkpoint/safetensors_writer.h"
#include "validation/synthetic_values.h"

namespace strata {

struct SyntheticTensor {
  SafetensorsWriter::Tensor tensor;
  std::shared_ptr<const ElementTable> elements;
  std::int64_t bytes() const;
};

/// Every tensor of the model that `config` (config.json's content) describes, in the format that `quantization`
/// declares for it, in the order in which the model is bound. Weights have a standard deviation of 0.02, those that
/// write to the residual less of it (by the square root of twice the layers), the head so much that logits have one of
/// about 2. Throws Error{bad_model} that begins with `what` for a configuration that can't be.
std::vector<SyntheticTensor> synthetic_tensors(const Json& config, const std::optional<QuantConfig>& quantization,
                                               std::string_view what, std::uint64_t seed);

}  // namespace strata
