#include "server/generation/tool_set.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>

#include "base/error.h"
#include "server/generation/python_literal.h"

namespace strata {
namespace {

constexpr int kMaxSchemaDepth = 16;  // of unions and references; deeper ones say nothing

void add_kind(ParameterType& type, std::string_view name) {
  if (name == "string") type.string = true;
  if (name == "integer") type.integer = true;
  if (name == "number") type.number = true;
  if (name == "boolean") type.boolean = true;
  if (name == "object") type.object = true;
  if (name == "array") type.array = true;
  if (name == "null") type.null = true;
}

void add_kind_of(ParameterType& type, const Json& value) {
  if (value.is_number_integer()) {
    type.integer = true;
  } else if (value.is_number()) {
    type.number = true;
  } else {
    add_kind(type, value.type_name());  // "string", "boolean", "object", "array", "null" are JSON's names too
  }
}

void collect(ParameterType& type, const Json& schema, const Json& root, int depth) {
  if (!schema.is_object() || depth > kMaxSchemaDepth) return;
  if (const auto kind = schema.find("type"); kind != schema.end()) {
    if (kind->is_string()) add_kind(type, kind->get_ref<const std::string&>());
    if (kind->is_array()) {
      for (const Json& name : *kind)
        if (name.is_string()) add_kind(type, name.get_ref<const std::string&>());
    }
    return;
  }
  for (const char* key : {"anyOf", "oneOf", "allOf"}) {
    const auto parts = schema.find(key);
    if (parts == schema.end() || !parts->is_array()) continue;
    for (const Json& part : *parts) collect(type, part, root, depth + 1);
  }
  if (const auto ref = schema.find("$ref"); ref != schema.end() && ref->is_string()) {
    const auto& text = ref->get_ref<const std::string&>();
    if (text.starts_with("#/")) {
      try {
        const Json::json_pointer pointer(text.substr(1));
        if (root.contains(pointer)) collect(type, root.at(pointer), root, depth + 1);
      } catch (const Json::exception&) {  // no pointer: it says nothing
      }
    }
  }
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    for (const Json& value : *values) add_kind_of(type, value);
  }
  if (const auto value = schema.find("const"); value != schema.end()) add_kind_of(type, *value);
  if (schema.contains("properties")) type.object = true;
  if (schema.contains("items")) type.array = true;
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

/// The digits of an integer, also if it is written "5.0"; empty if it is none.
std::string integer_text(std::string_view text) {
  const bool negative = text.starts_with('-');
  std::string_view digits = text.substr(negative ? 1 : 0);
  if (const auto point = digits.find('.'); point != std::string_view::npos) {
    const std::string_view fraction = digits.substr(point + 1);
    if (fraction.empty() || fraction.find_first_not_of('0') != std::string_view::npos) return {};
    digits = digits.substr(0, point);
  }
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); }))
    return {};
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits == "0") return "0";
  return (negative ? "-" : "") + std::string(digits);
}

/// Whether `text` is a number as JSON writes it.
bool is_json_number(std::string_view text) {
  std::size_t i = text.starts_with('-') ? 1 : 0;
  const auto digits = [&] {
    const std::size_t begin = i;
    while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i]))) ++i;
    return i - begin;
  };
  const std::size_t first = i;
  const std::size_t whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

std::optional<std::string> container_text(std::string_view text, const ParameterType& type) {
  if (text.empty() || (text[0] != '{' && text[0] != '[' && text[0] != '(')) return std::nullopt;
  std::optional<Json> value;
  try {
    value = parse_json(text, "argument");
  } catch (const Error&) {
    // A type that is also a string's takes only what is meant as JSON beyond doubt.
    if (!type.string) value = parse_python_literal(text);
  }
  if (!value || !(value->is_object() || value->is_array())) return std::nullopt;
  return value->dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

ParameterType ParameterType::of(const Json& schema, const Json& root) {
  ParameterType type;
  collect(type, schema, root, 0);
  if (type == ParameterType{}) type.string = true;
  return type;
}

std::string decode_argument(std::string_view text, const ParameterType& type) {
  const std::string_view word = trimmed(text);
  if (type.null && (word == "null" || word == "None" || word == "none")) return "null";
  if (type.integer) {
    if (std::string digits = integer_text(word); !digits.empty()) return digits;
  }
  if (type.number && is_json_number(word)) return std::string(word);
  if (type.boolean) {
    const bool digits = !type.integer && !type.number;
    if (equals_ignoring_case(word, "true") || (digits && word == "1")) return "true";
    if (equals_ignoring_case(word, "false") || (digits && word == "0")) return "false";
  }
  if (type.object || type.array) {
    if (auto value = container_text(word, type)) return *value;
  }
  return '"' + escape_json(text) + '"';
}

std::string escape_json(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    static constexpr std::string_view kNamed = "\"\\\b\f\n\r\t", kNames = "\"\\bfnrt";
    if (const auto at = kNamed.find(c); at != std::string_view::npos) {
      out += '\\';
      out += kNames[at];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 7> code{};
      std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(c));
      out += code.data();
    } else {
      out += c;
    }
  }
  return out;
}

ToolSchema::ToolSchema(const Json& function) {
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || !parameters->is_object()) return;
  const auto properties = parameters->find("properties");
  if (properties == parameters->end() || !properties->is_object()) return;
  for (const auto& [name, schema] : properties->items())
    types_.emplace_back(name, ParameterType::of(schema, *parameters));
}

ParameterType ToolSchema::type_of(std::string_view parameter) const {
  for (const auto& [name, type] : types_)
    if (name == parameter) return type;
  ParameterType text;
  text.string = true;
  return text;
}

bool ToolSchema::declares(std::string_view parameter) const {
  return std::any_of(types_.begin(), types_.end(), [&](const auto& t) { return t.first == parameter; });
}

bool ToolSchema::declares_prefix(std::string_view start) const {
  return std::any_of(types_.begin(), types_.end(), [&](const auto& t) { return t.first.starts_with(start); });
}

ToolSet::ToolSet(const Json& tools, const std::vector<std::string>& allowed) {
  for (const Json& tool : tools) {
    const Json& function = tool.contains("function") ? tool["function"] : tool;
    const auto& name = function["name"].get_ref<const std::string&>();
    if (allowed.empty() || std::find(allowed.begin(), allowed.end(), name) != allowed.end())
      tools_.emplace_back(name, ToolSchema(function));
  }
}

const ToolSchema* ToolSet::find(std::string_view name) const {
  for (const auto& [known, schema] : tools_)
    if (known == name) return &schema;
  return nullptr;
}

bool ToolSet::has_prefix(std::string_view start) const {
  return std::any_of(tools_.begin(), tools_.end(), [&](const auto& t) { return t.first.starts_with(start); });
}

}  // namespace strata
