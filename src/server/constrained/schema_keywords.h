// The keywords of one schema, checked for their form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/constrained/number_range.h"
#include "server/constrained/schema_error.h"
#include "server/constrained/string_shape.h"

namespace strata {

/// Some of JSON's types. Integers are a type of their own here: `number` is both.
using TypeSet = std::uint8_t;
namespace json_types {
inline constexpr TypeSet kNull = 1, kBoolean = 2, kObject = 4, kArray = 8, kString = 16, kInteger = 32, kFraction = 64;
inline constexpr TypeSet kNumber = kInteger | kFraction, kAll = 127;
}  // namespace json_types

/// What one schema object says. Pointers lead into it.
struct SchemaKeywords {
  /// Throws SchemaError for a keyword that isn't known, or of the wrong form.
  static SchemaKeywords read(const Json& schema, const std::string& pointer);

  std::string pointer;
  TypeSet types = json_types::kAll;
  const Json* ref = nullptr;
  const Json* any_of = nullptr;
  const Json* enumeration = nullptr;
  const Json* constant = nullptr;
  const Json* properties = nullptr;
  const Json* required = nullptr;
  const Json* additional = nullptr;
  const Json* items = nullptr;
  std::uint32_t min_items = 0;
  std::optional<std::uint32_t> max_items;
  LengthCounter length;
  NumberBounds bounds;
  /// The keywords that say something of a value themselves, but `type`.
  std::vector<std::string> assertions;

  /// Throws SchemaError if there are assertions but `keyword` and these.
  void allow_beside(std::string_view keyword, const std::vector<std::string_view>& allowed) const;
  [[noreturn]] void refuse(std::string_view keyword, const std::string& why) const;
};

}  // namespace strata
