// JSON values, and the strict way that Strata reads foreign JSON.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace strata {

/// Keeps the order of keys, as chat templates and schemas need. Look-up is linear: read objects of thousands of keys
/// by iteration, or event by event (base/json_sax.h).
using Json = nlohmann::ordered_json;

/// Parses strict JSON, in time that grows with the text alone: valid UTF-8, no duplicate keys, no NUL byte, no
/// trailing text, at most `max_depth` levels. Accepts Infinity and NaN nowhere. Throws Error{bad_model} that begins
/// with `what` and names line and column.
Json parse_json(std::string_view text, std::string_view what, int max_depth = 64);

/// parse_json of a whole file of at most `max_bytes`; `what` is the path.
Json read_json(const std::filesystem::path& path, std::int64_t max_bytes = 64 << 20);

}  // namespace strata
