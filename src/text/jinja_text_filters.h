// Filters of one value: strings, numbers and JSON. The filters of sequences build on them.
#pragma once

#include <string_view>

#include "text/jinja_runtime.h"

namespace strata::jinja {

using Filter = Value (*)(Budget&, const Value& input, const Call& call);

/// Null if there is no such filter among those of strings and numbers.
Filter find_text_filter(std::string_view name);

}  // namespace strata::jinja
