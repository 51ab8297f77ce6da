// Header bytes of any kind, over a data section of a size that the last byte chooses, are read or refused by an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::int64_t data_bytes = size > 0 ? data[size - 1] : 0;
  const std::string_view header(reinterpret_cast<const char*>(data), size);
  try {
    std::int64_t total = 0;
    const strata::TensorEntry* last = nullptr;
    const auto tensors = strata::parse_safetensors_header(header, data_bytes, nullptr, 8, "fuzz");
    for (const strata::TensorEntry& tensor : tensors) {
      CHECK(last == nullptr || last->name < tensor.name, "names are sorted and differ");
      CHECK(tensor.elements() * strata::size_of(tensor.type) == tensor.bytes.size(), "sizes agree");
      CHECK(!tensor.description().empty(), "a tensor can be described");
      total += tensor.bytes.size();
      last = &tensor;
    }
    CHECK(total == data_bytes, "the tensors fill the data");
  } catch (const strata::Error&) {
  }
  return 0;
}
