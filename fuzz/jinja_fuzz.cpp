// Fuzzes the Jinja interpreter: any bytes as a template, rendered over a small conversation.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const strata::Json kContext = strata::Json::parse(R"({
    "messages": [{"role": "user", "content": "a é\n"},
                 {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}}}}],
    "bos_token": "<s>", "add_generation_prompt": true, "n": -3, "r": 2.5})");
  try {
    strata::ChatTemplate::parse(std::string(reinterpret_cast<const char*>(data), size), "fuzz").render(kContext);
  } catch (const strata::Error&) {
  }
  return 0;
}
