// Messages and tools of a chat request, held to OpenAI's shapes.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "server/openai/field_reader.h"
#include "server/openai/request_options.h"

namespace strata {

/// `messages` as a template wants them: content as it was sent (text, or text parts only), an assistant's missing
/// content
/// "", its `reasoning` under the name reasoning_content. Throws ApiError::invalid_value.
Json read_messages(FieldReader& request, const RequestLimits& limits);

/// `tools`, or null if there are none. Throws ApiError::invalid_value.
Json read_tools(FieldReader& request, const RequestLimits& limits);

/// Names of `tools`.
std::vector<std::string> tool_names(const Json& tools);

}  // namespace strata
