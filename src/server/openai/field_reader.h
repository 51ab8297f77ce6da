// Members of a request's JSON objects, each held to its type and range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "server/openai/api_error.h"
#include "server/openai/fields.h"

namespace strata {

/// Reads an object member by member; null is as good as absent. Each look-up makes a name known. Throws
/// ApiError::invalid_value with the member's path.
class FieldReader {
 public:
  /// `object` must outlive it. `path`: of the object, empty for the whole. Throws if it is no object.
  FieldReader(const Json& object, std::string path);

  /// nullptr if absent or null.
  const Json* find(const char* name);
  std::optional<bool> boolean(const char* name);
  std::optional<std::string> string(const char* name, std::size_t max_bytes = std::size_t{64} << 20);
  std::optional<double> number(const NumericField& field);
  std::optional<std::int64_t> integer(const NumericField& field);
  /// An array of at most `max` elements.
  const Json* array(const char* name, std::size_t max);
  const Json* object(const char* name);

  /// "path.name".
  std::string path_of(std::string_view name) const;
  [[noreturn]] void refuse(std::string_view name, const std::string& expected, const Json& found) const;
  /// Names that are known and carry nothing.
  void ignore(std::initializer_list<const char*> names);
  /// Throws for a member whose name isn't known.
  void refuse_unknown() const;

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

/// `value` as it stands in a message: at most some 40 characters.
std::string shown(const Json& value);

/// The value of a numeric field. Throws ApiError::invalid_value for `path`.
double checked_number(const Json& value, const NumericField& field, const std::string& path);

/// The document of a request's body. Throws ApiError::invalid_utf8 or ::invalid_json.
Json parse_body(std::string_view body, int max_depth);

}  // namespace strata
