#include "server/constrained/schema_keywords.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "base/quote.h"

namespace strata {
namespace {

using namespace json_types;

constexpr std::array kAnnotations = {"$schema", "$id", "$comment", "title", "description", "default", "examples"};
constexpr std::uint32_t kMostRequired = 65536;  // of elements or characters that must come

TypeSet type_named(const std::string& name) {
  if (name == "null") return kNull;
  if (name == "boolean") return kBoolean;
  if (name == "object") return kObject;
  if (name == "array") return kArray;
  if (name == "string") return kString;
  if (name == "integer") return kInteger;
  if (name == "number") return kNumber;
  return 0;
}

}  // namespace

void SchemaKeywords::refuse(std::string_view keyword, const std::string& why) const {
  throw SchemaError(pointer, std::string(keyword), why);
}

void SchemaKeywords::allow_beside(std::string_view keyword, const std::vector<std::string_view>& allowed) const {
  for (const std::string& other : assertions) {
    if (other == keyword || std::find(allowed.begin(), allowed.end(), other) != allowed.end()) continue;
    refuse(other, in_quotes(other) + " beside " + in_quotes(keyword) +
                      " is not supported: write it into the schemas of " + in_quotes(keyword));
  }
}

namespace {

/// Reads single keywords into their place.
struct Reader {
  SchemaKeywords& into;

  void type(const Json& value) const {
    const auto add = [&](const Json& name) {
      const TypeSet type = name.is_string() ? type_named(name.get<std::string>()) : 0;
      if (type == 0)
        into.refuse("type",
                    "\"type\" expects null, boolean, object, array, string, number, integer or a list of these, "
                    "found " +
                        in_quotes(name.dump()));
      into.types |= type;
    };
    into.types = 0;
    if (!value.is_array()) return add(value);
    if (value.empty()) into.refuse("type", "\"type\" expects at least one type, found an empty list");
    for (const Json& name : value) add(name);
  }

  std::uint64_t count(const std::string& keyword, const Json& value) const {
    const bool whole = value.is_number() && std::floor(value.get<double>()) == value.get<double>();
    if (!whole || value.get<double>() < 0)
      into.refuse(keyword,
                  in_quotes(keyword) + " expects a whole number of at least 0, found " + in_quotes(value.dump()));
    return value.get<double>() > 1e18 ? static_cast<std::uint64_t>(1e18) : value.get<std::uint64_t>();
  }
  std::uint32_t minimum_count(const std::string& keyword, const Json& value) const {
    const std::uint64_t least = count(keyword, value);
    if (least > kMostRequired)
      into.refuse(keyword, in_quotes(keyword) + " is supported up to " + std::to_string(kMostRequired) + ", found " +
                               std::to_string(least));
    return static_cast<std::uint32_t>(least);
  }

  void bound(const std::string& keyword, const Json& value, bool lower, bool exclusive) const {
    if (!value.is_number())
      into.refuse(keyword, in_quotes(keyword) + " expects a number, found " + in_quotes(value.dump()));
    const Decimal number = Decimal::of(value);
    if (number.fraction.size() > static_cast<std::size_t>(NumberRange::kMaxBoundFractionDigits))
      into.refuse(keyword, in_quotes(keyword) + " is supported with up to " +
                               std::to_string(NumberRange::kMaxBoundFractionDigits) +
                               " digits after the point, found " + value.dump());
    const bool too_large = number.integer.size() > static_cast<std::size_t>(NumberRange::kMaxIntegerDigits);
    if (too_large && number.negative != lower)
      into.refuse(keyword, in_quotes(keyword) + " is supported up to " +
                               std::to_string(NumberRange::kMaxIntegerDigits) + " digits before the point, found " +
                               value.dump());
    auto& place = lower ? into.bounds.minimum : into.bounds.maximum;
    bool& is_exclusive = lower ? into.bounds.exclusive_minimum : into.bounds.exclusive_maximum;
    const bool stricter = !place || (lower ? number > *place : number < *place);
    if (stricter) is_exclusive = exclusive;
    if (place && number == *place) is_exclusive |= exclusive;
    if (stricter) place = number;
  }

  void expect(const std::string& keyword, const Json& value, bool right, const char* form) const {
    if (!right) into.refuse(keyword, in_quotes(keyword) + " expects " + form + ", found " + in_quotes(value.dump()));
  }

  void strings(const std::string& keyword, const Json& value) const {
    expect(
        keyword, value,
        value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& name) { return name.is_string(); }),
        "a list of strings");
  }

  /// False for a keyword that isn't known.
  bool assertion(const std::string& keyword, const Json& value) const {
    const auto keep = [&](const Json*& place) { place = &value; };
    if (keyword == "$ref") {
      expect(keyword, value, value.is_string(), "a string");
      keep(into.ref);
    } else if (keyword == "anyOf") {
      expect(keyword, value, value.is_array() && !value.empty(), "a list of schemas");
      keep(into.any_of);
    } else if (keyword == "enum") {
      expect(keyword, value, value.is_array() && !value.empty(), "a list of values");
      keep(into.enumeration);
    } else if (keyword == "const") {
      keep(into.constant);
    } else if (keyword == "properties") {
      expect(keyword, value, value.is_object(), "an object of schemas");
      keep(into.properties);
    } else if (keyword == "required") {
      strings(keyword, value);
      keep(into.required);
    } else if (keyword == "additionalProperties" || keyword == "items") {
      expect(keyword, value, value.is_object() || value.is_boolean(), "a schema");
      keep(keyword == "items" ? into.items : into.additional);
    } else if (keyword == "minItems") {
      into.min_items = minimum_count(keyword, value);
    } else if (keyword == "maxItems") {
      // Beyond that no answer comes.
      if (const std::uint64_t most = count(keyword, value); most < 1 << 23)
        into.max_items = static_cast<std::uint32_t>(most);
    } else if (keyword == "minLength") {
      into.length.needed = minimum_count(keyword, value);
    } else if (keyword == "maxLength") {
      if (const std::uint64_t most = count(keyword, value); most <= LengthCounter::kMost)
        into.length.left = static_cast<std::uint32_t>(most);
    } else if (keyword == "minimum" || keyword == "exclusiveMinimum") {
      bound(keyword, value, true, keyword != "minimum");
    } else if (keyword == "maximum" || keyword == "exclusiveMaximum") {
      bound(keyword, value, false, keyword != "maximum");
    } else {
      return false;
    }
    into.assertions.push_back(keyword);
    return true;
  }
};

}  // namespace

SchemaKeywords SchemaKeywords::read(const Json& schema, const std::string& pointer) {
  SchemaKeywords keywords;
  keywords.pointer = pointer;
  const Reader reader{keywords};
  for (const auto& [keyword, value] : schema.items()) {
    if (std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end()) continue;
    if (keyword == "$defs" || keyword == "definitions") {
      reader.expect(keyword, value, value.is_object(), "an object of schemas");
    } else if (keyword == "type") {
      reader.type(value);
    } else if (!reader.assertion(keyword, value)) {
      keywords.refuse(keyword, "the keyword " + in_quotes(keyword) +
                                   " is not supported, and ignoring it would break its promise: remove it");
    }
  }
  return keywords;
}

}  // namespace strata
