// A tokenizer.json of any bytes either loads or is refused by an Error; one that loads encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view json(reinterpret_cast<const char*>(data), size);
    const auto tokenizer = strata::Tokenizer::parse(json, "fuzz");
    const std::string_view text = "Fuzz <s>\xC3\xA9 e\xCC\x81 12\n \xFF\xE2\x82";
    tokenizer.decode(tokenizer.encode(text));
    tokenizer.encode_with_offsets(text);
    const std::vector<strata::TextSegment> segments = {{"<s>", false}, {std::string(json.substr(0, 256)), true}};
    tokenizer.decode(tokenizer.encode(segments));
  } catch (const strata::Error&) {
  }
  return 0;
}
