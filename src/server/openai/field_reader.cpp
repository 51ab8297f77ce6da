#include "server/openai/field_reader.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/quote.h"
#include "text/utf8.h"

namespace strata {
namespace {

/// 2 as "2", 0.01 as "0.01".
std::string shortest(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

}  // namespace

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array of " + std::to_string(value.size());
  std::string text = value.is_string() ? in_quotes(value.get_ref<const std::string&>())
                                       : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, valid_utf8_prefix(text.substr(0, 40))) + "...";
  return text;
}

double checked_number(const Json& value, const NumericField& field, const std::string& path) {
  const double number = value.is_number() ? value.get<double>() : 0;
  const bool whole = !field.integer || number == std::floor(number);
  if (!value.is_number() || !whole || !(number >= field.min && number <= field.max)) {
    throw ApiError::invalid_value(path, "expected " + std::string(field.integer ? "an integer" : "a number") +
                                            " from " + shortest(field.min) + " to " + shortest(field.max) + ", found " +
                                            shown(value));
  }
  return number;
}

Json parse_body(std::string_view body, int max_depth) {
  if (const std::size_t valid = valid_utf8_prefix(body); valid != body.size()) throw ApiError::invalid_utf8(valid);
  if (body.starts_with("\xEF\xBB\xBF")) throw ApiError::invalid_json("request body: it begins with a byte order mark");
  try {
    return parse_json(body, "request body", max_depth);
  } catch (const Error& error) {
    throw ApiError::invalid_json(error.what());
  }
}

FieldReader::FieldReader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (object_.is_object()) return;
  if (path_.empty()) throw ApiError::invalid_json("the request body must be a JSON object, found " + shown(object_));
  throw ApiError::invalid_value(path_, "expected an object, found " + shown(object_));
}

std::string FieldReader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

const Json* FieldReader::find(const char* name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void FieldReader::refuse(std::string_view name, const std::string& expected, const Json& found) const {
  throw ApiError::invalid_value(path_of(name), "expected " + expected + ", found " + shown(found));
}

std::optional<bool> FieldReader::boolean(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse(name, "true or false", *value);
  return value->get<bool>();
}

std::optional<std::string> FieldReader::string(const char* name, std::size_t max_bytes) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(name, "a string", *value);
  const auto& text = value->get_ref<const std::string&>();
  if (text.size() > max_bytes) refuse(name, "at most " + std::to_string(max_bytes) + " bytes", text.size());
  return text;
}

std::optional<double> FieldReader::number(const NumericField& field) {
  const Json* value = find(field.name);
  if (value == nullptr) return std::nullopt;
  return checked_number(*value, field, path_of(field.name));
}

std::optional<std::int64_t> FieldReader::integer(const NumericField& field) {
  const auto value = number(field);
  if (!value) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

const Json* FieldReader::array(const char* name, std::size_t max) {
  const Json* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) refuse(name, "an array", *value);
  if (value->size() > max) refuse(name, "at most " + std::to_string(max) + " elements", *value);
  return value;
}

const Json* FieldReader::object(const char* name) {
  const Json* value = find(name);
  if (value != nullptr && !value->is_object()) refuse(name, "an object", *value);
  return value;
}

void FieldReader::ignore(std::initializer_list<const char*> names) { known_.insert(names.begin(), names.end()); }

void FieldReader::refuse_unknown() const {
  for (const auto& [name, value] : object_.items()) {
    if (!known_.contains(name)) throw ApiError::invalid_value(path_of(name), "unknown field (--strict-fields is set)");
  }
}

}  // namespace strata
