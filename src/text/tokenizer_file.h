// tokenizer.json as it stands in the file, read in one pass.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace strata {

/// The vocabulary and the merges, of which there are hundreds of thousands, apart from the rest.
struct TokenizerFile {
  std::vector<std::pair<std::string, std::int64_t>> vocab;  // `model.vocab`, if that is an object
  std::vector<std::pair<std::string, std::string>> merges;  // `model.merges`, of "a b" or ["a", "b"], by rank
  Json rest;                                                // all else; `model` without the two
};

/// Parses strict JSON of at most 64 levels. Throws Error{bad_model} that begins with `what`.
TokenizerFile read_tokenizer_file(std::string_view json, std::string_view what);

/// Throws Error{bad_model}: "WHAT: expected EXPECTED, found FOUND".
[[noreturn]] void refuse_field(std::string_view what, std::string_view expected, std::string_view found);

/// How the small objects of a tokenizer.json are read; `what` names the file and the object. They throw by
/// refuse_field() if the object is none or the field is missing or of another type.
std::string type_field(const Json& object, std::string_view what);
std::string string_field(const Json& object, std::string_view key, std::string_view what);
const Json& array_field(const Json& object, std::string_view key, std::string_view what);
/// `missing` if the field is missing or null.
bool bool_field(const Json& object, std::string_view key, bool missing, std::string_view what);

}  // namespace strata
