// What the server says about how requests are read.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace strata {

/// Caps on what one request may hold (docs/server.md); what is beyond one is refused with 400, naming it.
struct RequestLimits {
  int json_depth = 64;
  std::size_t messages = 10000, content_parts = 1024, tools = 128, tool_bytes = 1 << 20, schema_bytes = 1 << 20;
  std::size_t stop_strings = 16, stop_bytes = 256, logit_bias = 1024, prompts = 64;
  int n = 8, top_logprobs = 20;
};

/// Which fields carry the thinking; `inline_text`: within content, between <think> and </think>; `none`: it is left
/// out.
enum class ReasoningField { both, reasoning, reasoning_content, inline_text, none };

struct RequestOptions {
  std::vector<std::string> model_names;  // the served name, then its aliases
  bool any_model = false;                // whatever `model` says is right
  bool strict_fields = false;            // unknown fields are refused
  ReasoningField reasoning_field = ReasoningField::both;
  RequestLimits limits;
};

}  // namespace strata
