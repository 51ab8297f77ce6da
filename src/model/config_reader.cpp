#include "model/config_reader.h"

#include <cmath>

#include "base/error.h"

namespace strata {
namespace {

/// A value as the message shows it, cut if it is long.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

/// The first of `names` that is there and not null, else the first.
std::string_view spelling(const Json& object, ConfigReader::Names names) {
  for (std::string_view name : names) {
    const auto at = object.find(name);
    if (at != object.end() && !at->is_null()) return name;
  }
  return *names.begin();
}

std::string bound(double value) {
  std::string text = Json(value).dump();
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

}  // namespace

ConfigReader::ConfigReader(const Json& object, std::string what) : object_(object), what_(std::move(what)) {
  if (!object.is_object())
    throw Error(ErrorCode::bad_model, what_ + ": expected a JSON object, found " + shown(object));
}

void ConfigReader::fail(std::string_view key, const std::string& message) const {
  throw Error(ErrorCode::bad_model, what_ + ": " + std::string(key) + ": " + message);
}

const Json* ConfigReader::find(Names names) const {
  for (std::string_view name : names) {
    const auto at = object_.find(name);
    if (at != object_.end() && !at->is_null()) return &*at;
  }
  return nullptr;
}

std::int64_t ConfigReader::integer(Names names, std::int64_t least, std::int64_t most,
                                   std::optional<std::int64_t> fallback) const {
  const Json* value = find(names);
  if (!value) {
    if (fallback) return *fallback;
    fail(*names.begin(), "is missing; expected an integer");
  }
  const bool whole = value->is_number_integer() ||
                     (value->is_number_float() && std::trunc(value->get<double>()) == value->get<double>());
  const double number = whole ? value->get<double>() : 0;
  if (!whole || number < static_cast<double>(least) || number > static_cast<double>(most)) {
    fail(spelling(object_, names), "expected an integer from " + std::to_string(least) + " to " + std::to_string(most) +
                                       ", found " + shown(*value));
  }
  return static_cast<std::int64_t>(number);
}

double ConfigReader::number(Names names, double least, double most, double fallback) const {
  const Json* value = find(names);
  if (!value) return fallback;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= least && number <= most)) {
    fail(spelling(object_, names),
         "expected a number from " + bound(least) + " to " + bound(most) + ", found " + shown(*value));
  }
  return number;
}

bool ConfigReader::flag(Names names, bool fallback) const {
  const Json* value = find(names);
  if (!value) return fallback;
  if (!value->is_boolean()) fail(spelling(object_, names), "expected true or false, found " + shown(*value));
  return value->get<bool>();
}

std::optional<std::string> ConfigReader::text(Names names) const {
  const Json* value = find(names);
  if (!value) return std::nullopt;
  if (!value->is_string()) fail(spelling(object_, names), "expected a string, found " + shown(*value));
  return value->get<std::string>();
}

void ConfigReader::require(std::string_view name, const Json& expected) const {
  const Json* value = find({name});
  if (value && *value != expected) {
    fail(name, "Strata computes " + shown(expected) + " only, found " + shown(*value));
  }
}

}  // namespace strata
