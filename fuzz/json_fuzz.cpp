// A text of any bytes is refused by an Error or gives the document that the library itself reads.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const strata::Json json = strata::parse_json(text, "fuzz");
    CHECK(json == strata::Json::parse(text), "the documents are the same");
  } catch (const strata::Error&) {
  }
  return 0;
}
