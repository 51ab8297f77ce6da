// A schema of any bytes, up to the first NUL, is refused by an Error or becomes a grammar; then the rest is written
// under it as far as it goes: what is complete is JSON, and what isn't has a byte that may come next.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "server/constrained/grammar_state.h"
#include "server/constrained/json_schema.h"
#include "server/constrained/tool_grammar.h"

namespace {

bool has_next(const strata::GrammarState& state) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (strata::GrammarState(state).advance({&c, 1})) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), size);
  try {
    const strata::Json schema = strata::parse_json(input.substr(0, end), "fuzz");
    try {
      strata::compile_tool_calls(strata::Json::array({{{"function", {{"name", "f"}, {"parameters", schema}}}}}),
                                 std::nullopt);
    } catch (const strata::Error&) {
    }
    strata::SchemaLimits limits;
    limits.properties = 100;
    limits.enum_bytes = 1024;
    const auto grammar = std::make_shared<const strata::Grammar>(strata::compile_json_schema(schema, limits));
    strata::GrammarState state(grammar);
    CHECK(has_next(state), "a grammar that is accepted has texts");
    std::string text;
    for (const char& byte : input.substr(std::min(end + 1, size))) {
      if (!state.advance({&byte, 1})) continue;
      text += byte;
      CHECK(!state.can_end() || strata::Json::accept(text), "a complete text is JSON");
      CHECK(state.can_end() || has_next(state), "what is begun can go on");
    }
  } catch (const strata::Error&) {
  }
  return 0;
}
