// Tool calls to grammars.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "server/constrained/grammar.h"

namespace strata {

/// What stands between <tool_call> and </tool_call>:
///   "\n<function=" NAME ">\n" { "<parameter=" KEY ">\n" VALUE "\n</parameter>\n" } "</function>\n"
/// NAME is one of `tools` ([{"function": {"name", "parameters"}}], `type` ignored), or `name` alone if given. Required
/// keys come first, then optional ones, each in the schema's order; only declared keys.
///
/// VALUE, where the parameter's schema allows strings: any text without "\n</parameter>", of minLength to maxLength
/// code points; of an enum or const the strings as they are. Else JSON by the schema, as compile_json_schema() has it.
/// A parameter whose schema that function refuses is held to its `type` alone, and to nothing without one: a tool is
/// written for many servers, and its author decides what a wrong argument means.
///
/// Throws Error{usage} if `name` is not of `tools`, there are no tools or one has no name, or a name or key that is
/// empty or has a line end or ">" (the format has no escapes).
Grammar compile_tool_calls(const Json& tools, std::optional<std::string_view> name);

/// One of `texts`, as they are. Throws Error{usage} for none, an empty one, invalid UTF-8, or more than 256 KiB.
Grammar compile_choice(std::span<const std::string> texts);

}  // namespace strata
