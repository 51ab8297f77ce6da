// Values as text: Python's str() and repr(), json.dumps, and the two ways of formatting strings.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace strata::jinja {

/// Python's str(). Strings keep their origins; numbers, None, True and False count as the template's, since they can't
/// spell a special token; a container's text counts as the request's.
Text to_text(const Value& value);
/// Python's repr().
std::string repr(const Value& value);
/// Python's repr of a float: the shortest digits that read back as the same number.
std::string float_repr(double value);

/// Arguments of Python's json.dumps.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level of it
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
/// json.dumps(value). Throws Failure for what JSON can't hold, undefined among it.
std::string to_json(const Value& value, const JsonStyle& style);

using Arguments = std::vector<Value>;
using NamedArguments = std::vector<std::pair<std::string, Value>>;
/// "{} {0} {name}".format(...): fields without conversion or specification. Throws Failure for others.
Text format_braces(const Text& format, const Arguments& args, const NamedArguments& named);
/// "%s %d %(name)s" % values, with %s %r %d %i %x %f %% and width and precision. Throws Failure for others.
Text format_percent(const Text& format, const Value& values);

}  // namespace strata::jinja
