// Values as Python prints them, which models write where JSON is meant.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"

namespace strata {

/// Reads one Python literal of strings, numbers, True, False, None, lists, tuples (as lists) and dicts with string
/// keys, at most 64 deep, in time that grows with the text alone; nothing if it is anything else. Also reads JSON's
/// true, false and null among them, and a comma before a closing bracket.
std::optional<Json> parse_python_literal(std::string_view text);

}  // namespace strata
