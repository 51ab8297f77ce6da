// The JSON of a safetensors header, read but not yet held against the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace strata {

/// One entry of the header, as it stands there.
struct HeaderTensor {
  std::string name;
  StoredType type = StoredType::F32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;
};

/// The tensors of a header in its order: strict JSON, the known keys only, no key twice inside an entry. Equal tensor
/// names are left to the caller. Throws Error{bad_model} that begins with `what`.
std::vector<HeaderTensor> parse_header_json(std::string_view header, std::string_view what);

/// The Error for a broken safetensors file: "`what`: [tensor "name": ]`word`: `why`".
[[noreturn]] void refuse_safetensors(std::string_view what, std::string_view tensor, std::string_view word,
                                     const std::string& why);

}  // namespace strata
