// The tools that a model may call, and how the text of an argument becomes JSON.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace strata {

/// The kinds of JSON value that a parameter's schema allows.
struct ParameterType {
  bool string = false, integer = false, number = false, boolean = false, object = false, array = false, null = false;

  /// By `type` (also a list), anyOf, oneOf, allOf, local $ref, else enum or const; a schema that says nothing of it is
  /// a string's. `root`: what $ref refers to.
  static ParameterType of(const Json& schema, const Json& root);

  bool only_string() const { return string && !integer && !number && !boolean && !object && !array && !null; }
  /// A string or null and nothing else.
  bool string_or_null() const { return string && null && !integer && !number && !boolean && !object && !array; }
  friend bool operator==(const ParameterType&, const ParameterType&) = default;
};

/// The JSON text of what the model wrote as an argument, one line end at each side already removed. What isn't of the
/// type stays a string, so that whoever runs the tool sees what was written:
///   null       null, None, none, if the type allows it
///   integer    decimal digits, also with ".0"
///   number     as JSON writes numbers
///   boolean    true or false in any case, 1 or 0
///   object, array   JSON, or as Python prints them
///   string     the text as it is
std::string decode_argument(std::string_view text, const ParameterType& type);

/// `text` between the quotes of a JSON string. Bytes beyond ASCII stay as they are, so a character may come in parts.
std::string escape_json(std::string_view text);

/// One tool.
class ToolSchema {
 public:
  /// `function`: {"name", "parameters"}.
  explicit ToolSchema(const Json& function);
  ParameterType type_of(std::string_view parameter) const;
  bool declares_parameters() const { return !types_.empty(); }
  bool declares(std::string_view parameter) const;
  /// Whether a declared name begins with `start`.
  bool declares_prefix(std::string_view start) const;

 private:
  std::vector<std::pair<std::string, ParameterType>> types_;
};

/// Immutable.
class ToolSet {
 public:
  /// OpenAI's list; only those in `allowed` if it isn't empty. Shapes have been checked.
  explicit ToolSet(const Json& tools, const std::vector<std::string>& allowed = {});
  bool empty() const { return tools_.empty(); }
  /// nullptr if there is none of that name.
  const ToolSchema* find(std::string_view name) const;
  bool has_prefix(std::string_view start) const;

 private:
  std::vector<std::pair<std::string, ToolSchema>> tools_;
};

}  // namespace strata
