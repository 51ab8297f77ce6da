#include "server/constrained/schema_compiler.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/quote.h"
#include "server/constrained/schema_keywords.h"

namespace strata {

using namespace json_types;

namespace {

constexpr LengthCounter kAnyLength;

/// Whether arrays and objects are nested at most `most` deep.
bool is_nested_within(const Json& value, int most) {
  if (!value.is_structured()) return true;
  return most > 0 &&
         std::all_of(value.begin(), value.end(), [&](const Json& part) { return is_nested_within(part, most - 1); });
}

std::string json_text(const Json& value, const std::string& pointer, bool ascii = false) {
  try {
    return value.dump(-1, ' ', ascii);
  } catch (const Json::exception&) {
    throw SchemaError(pointer, "", "a string in it is not valid UTF-8");
  }
}

std::uint32_t code_points(const std::string& text) {
  return static_cast<std::uint32_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

/// Whether a scalar keeps to the keywords that speak of its type.
bool keeps_to(const Json& value, const SchemaKeywords& keywords, TypeSet types) {
  if ((type_of(value) & types) == 0) return false;
  if (value.is_string()) {
    const std::uint32_t length = code_points(value.get_ref<const std::string&>());
    return length >= keywords.length.needed &&
           (keywords.length.left == LengthCounter::kUnlimited || length <= keywords.length.left);
  }
  if (!value.is_number()) return true;
  const Decimal number = Decimal::of(value);
  const auto& [minimum, maximum, above, below, integer] = keywords.bounds;
  return (!minimum || number > *minimum || (number == *minimum && !above)) &&
         (!maximum || number < *maximum || (number == *maximum && !below));
}

/// `reference`'s parts after "#", decoded; nothing if it isn't a local pointer.
std::optional<std::vector<std::string>> local_pointer(const std::string& reference) {
  if (reference.empty() || reference[0] != '#' || (reference.size() > 1 && reference[1] != '/')) return {};
  std::vector<std::string> parts;
  const auto hex = [](char c) {
    const auto at = std::string_view("0123456789abcdefABCDEF").find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at < 16 ? at : at - 6);
  };
  for (std::size_t at = 1; at < reference.size(); ++at) {
    char c = reference[at];
    if (c == '/') {
      parts.emplace_back();
      continue;
    }
    if (c == '%') {
      const int high = at + 2 < reference.size() ? hex(reference[at + 1]) : -1;
      const int low = high >= 0 ? hex(reference[at + 2]) : -1;
      if (low < 0) return {};
      c = static_cast<char>(high * 16 + low);
      at += 2;
    } else if (c == '~') {
      ++at;
      if (at == reference.size() || (reference[at] != '0' && reference[at] != '1')) return {};
      c = reference[at] == '0' ? '~' : '/';
    }
    parts.back() += c;
  }
  return parts;
}

}  // namespace

TypeSet type_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return kNull;
    case Json::value_t::boolean:
      return kBoolean;
    case Json::value_t::object:
      return kObject;
    case Json::value_t::array:
      return kArray;
    case Json::value_t::string:
      return kString;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return kInteger;
    case Json::value_t::number_float:
      return std::floor(value.get<double>()) == value.get<double>() ? kInteger : kFraction;
    default:
      return 0;
  }
}

std::vector<std::string> spellings(const std::string& text) {
  std::vector<std::string> all = {Json(text).dump()};
  if (std::string ascii = Json(text).dump(-1, ' ', true); ascii != all[0]) all.push_back(std::move(ascii));
  return all;
}

std::string pointer_part(std::string_view text) {
  std::string part;
  for (const char c : text) {
    if (c == '~') {
      part += "~0";
    } else if (c == '/') {
      part += "~1";
    } else {
      part += c;
    }
  }
  return part;
}

ObjectShape make_object(Grammar& grammar, const std::vector<std::string>& names, std::vector<ValueId> values,
                        const std::vector<bool>& required, ValueId additional) {
  std::vector<std::pair<std::string, std::int32_t>> keys, excluded;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto number = static_cast<std::int32_t>(i);
    for (const std::string& text : spellings(names[i])) keys.emplace_back(text.substr(1), number);
    excluded.emplace_back(names[i], number);
  }
  ObjectShape object;
  object.order = key_order(std::move(values), required);
  object.keys = ByteTrie(std::move(keys));
  object.additional = additional;
  if (additional != kNoValue) {
    object.additional_key =
        grammar.add(names.empty() ? StringShape(kAnyLength) : StringShape(ByteTrie(std::move(excluded))));
  }
  return object;
}

SchemaCompiler::SchemaCompiler(const Json& document, std::string place, const SchemaLimits& limits, SchemaCost& cost,
                               Grammar& grammar)
    : document_(document), place_(std::move(place)), limits_(limits), cost_(cost), grammar_(grammar) {
  if (!is_nested_within(document, limits.depth))
    throw SchemaError(place_, "", "it is nested deeper than " + std::to_string(limits.depth) + " levels");
  const std::size_t bytes = json_text(document, place_).size();
  if (bytes > limits.bytes)
    throw SchemaError(place_, "",
                      "it has " + std::to_string(bytes) + " bytes, expected at most " + std::to_string(limits.bytes));
}

ValueId SchemaCompiler::compile(const Json& schema, const std::string& pointer) {
  const ValueId value = value_of(schema, pointer, kAll);
  while (!pending_.empty()) {
    const Pending next = std::move(pending_.front());
    pending_.pop_front();
    fill(next.value, *next.schema, next.pointer, next.types);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - cost_.start;
    if (elapsed.count() > limits_.seconds)
      throw SchemaError(place_, "",
                        "it takes longer than " + std::to_string(static_cast<int>(limits_.seconds)) +
                            " s to compile: make it smaller");
  }
  return value;
}

ValueId SchemaCompiler::value_of(const Json& schema, const std::string& pointer, TypeSet types) {
  const auto [known, is_new] = known_.try_emplace({&schema, types}, 0);
  if (is_new) {
    known->second = grammar_.add_value();
    pending_.push_back({known->second, &schema, pointer, types});
  }
  return known->second;
}

ValueId SchemaCompiler::free_value(TypeSet types) {
  const auto [known, is_new] = free_.try_emplace(types, 0);
  if (!is_new) return known->second;
  const ValueId value = known->second = grammar_.add_value();
  const ValueId any = types == kAll ? value : free_value(kAll);
  std::vector<ShapeId> shapes;
  std::vector<std::string> words;
  if ((types & kNull) != 0) words.emplace_back("null");
  if ((types & kBoolean) != 0) words.insert(words.end(), {"true", "false"});
  if (!words.empty()) shapes.push_back(text_shape(std::move(words)));
  if ((types & kString) != 0) shapes.push_back(grammar_.add(StringShape(kAnyLength)));
  if ((types & kNumber) != 0) {
    NumberBounds bounds;
    bounds.integer = (types & kFraction) == 0;
    shapes.push_back(grammar_.add(NumberRange(bounds)));
  }
  if ((types & kObject) != 0) shapes.push_back(grammar_.add(make_object(grammar_, {}, {}, {}, any)));
  if ((types & kArray) != 0) {
    ArrayShape array;
    array.items = any;
    shapes.push_back(grammar_.add(std::move(array)));
  }
  grammar_.values[value].shapes = std::move(shapes);
  return value;
}

ShapeId SchemaCompiler::text_shape(std::vector<std::string> words) {
  TextShape text;
  text.words = std::move(words);
  return grammar_.add(std::move(text));
}

ValueId SchemaCompiler::literal(const Json& value) {
  if (value.is_string()) return grammar_.add_value({text_shape(spellings(value.get<std::string>()))});
  if (value.is_array()) {
    ArrayShape array;
    for (const Json& element : value) array.prefix.push_back(literal(element));
    array.min = array.max = static_cast<std::uint32_t>(value.size());
    return grammar_.add_value({grammar_.add(std::move(array))});
  }
  if (value.is_object()) {
    std::vector<std::string> names;
    std::vector<ValueId> values;
    for (const auto& [name, member] : value.items()) {
      names.push_back(name);
      values.push_back(literal(member));
    }
    const std::vector<bool> required(names.size(), true);
    return grammar_.add_value({grammar_.add(make_object(grammar_, names, std::move(values), required, kNoValue))});
  }
  std::vector<std::string> words = {value.dump()};
  if (value.is_number_float() && type_of(value) == kInteger) {
    const Decimal number = Decimal::of(value);
    if (number.integer.size() <= static_cast<std::size_t>(NumberRange::kMaxIntegerDigits))
      words.push_back((number.negative ? "-" : "") + number.integer);
  }
  return grammar_.add_value({text_shape(std::move(words))});
}

void SchemaCompiler::fill(ValueId value, const Json& schema, const std::string& pointer, TypeSet types) {
  if (schema.is_boolean()) {
    if (!schema.get<bool>()) return;
    const ValueId any = free_value(types);  // before values are referred to: it adds some
    return grammar_.values[value].same_as.push_back(any);
  }
  if (!schema.is_object())
    throw SchemaError(pointer, "",
                      "expected a schema, an object or a boolean, found " + in_quotes(json_text(schema, pointer)));
  SchemaKeywords keywords = SchemaKeywords::read(schema, pointer);
  keywords.types &= types;
  if (keywords.ref != nullptr) {
    keywords.allow_beside("$ref", {});
    const ValueId target = resolve(keywords.ref->get<std::string>(), pointer, keywords.types);
    grammar_.values[value].same_as.push_back(target);
  } else if (keywords.enumeration != nullptr || keywords.constant != nullptr) {
    add_enumerated(value, keywords);
  } else if (keywords.any_of != nullptr) {
    add_alternatives(value, keywords);
  } else {
    add_typed(value, keywords);
  }
}

ValueId SchemaCompiler::resolve(const std::string& reference, const std::string& pointer, TypeSet types) {
  const auto refuse = [&](const std::string& why) -> SchemaError {
    return {pointer, "$ref", "\"$ref\" " + in_quotes(reference) + " " + why};
  };
  const auto parts = local_pointer(reference);
  if (!parts) throw refuse("is not supported: only pointers into the same schema are, as \"#/$defs/name\"");
  const Json* place = &document_;
  for (const std::string& part : *parts) {
    const Json* next = nullptr;
    if (place->is_object()) {
      if (const auto found = place->find(part); found != place->end()) next = &*found;
    } else if (place->is_array() && !part.empty() && part.size() < 8 &&
               std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      if (const auto index = static_cast<std::size_t>(std::stoi(part)); index < place->size()) next = &(*place)[index];
    }
    if (next == nullptr) throw refuse("leads nowhere: " + in_quotes(part) + " is not there");
    place = next;
  }
  if (!place->is_object() && !place->is_boolean())
    throw refuse("expects a schema, found " + std::string(place->type_name()));
  return value_of(*place, place_ + reference.substr(1), types);
}

void SchemaCompiler::add_enumerated(ValueId value, const SchemaKeywords& keywords) {
  const char* name = keywords.enumeration != nullptr ? "enum" : "const";
  std::vector<const Json*> literals;
  if (keywords.enumeration != nullptr) {
    for (const Json& entry : *keywords.enumeration) literals.push_back(&entry);
    if (keywords.constant != nullptr)
      literals.erase(std::remove_if(literals.begin(), literals.end(),
                                    [&](const Json* entry) { return *entry != *keywords.constant; }),
                     literals.end());
  } else {
    literals.push_back(keywords.constant);
  }
  const bool has_containers =
      std::any_of(literals.begin(), literals.end(), [](const Json* entry) { return entry->is_structured(); });
  std::vector<std::string_view> allowed = {"enum",    "const",   "minLength",        "maxLength",
                                           "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
  if (!has_containers)
    allowed.insert(allowed.end(), {"properties", "required", "additionalProperties", "items", "minItems", "maxItems"});
  keywords.allow_beside(name, allowed);

  for (const Json* entry : literals) {
    cost_.enum_bytes += json_text(*entry, keywords.pointer).size();
    if (cost_.enum_bytes > limits_.enum_bytes)
      keywords.refuse(name, "enum and const have more than " + std::to_string(limits_.enum_bytes) +
                                " bytes in all: make them smaller");
    if (!keeps_to(*entry, keywords, keywords.types)) continue;
    const ValueId exact = literal(*entry);
    grammar_.values[value].same_as.push_back(exact);
  }
}

void SchemaCompiler::add_alternatives(ValueId value, const SchemaKeywords& keywords) {
  keywords.allow_beside("anyOf", {});
  for (std::size_t i = 0; i < keywords.any_of->size(); ++i) {
    const ValueId alternative =
        value_of((*keywords.any_of)[i], keywords.pointer + "/anyOf/" + std::to_string(i), keywords.types);
    grammar_.values[value].same_as.push_back(alternative);
  }
}

void SchemaCompiler::add_typed(ValueId value, const SchemaKeywords& keywords) {
  const TypeSet types = keywords.types;
  std::vector<ShapeId> shapes;
  std::vector<std::string> words;
  if ((types & kNull) != 0) words.emplace_back("null");
  if ((types & kBoolean) != 0) words.insert(words.end(), {"true", "false"});
  if (!words.empty()) shapes.push_back(text_shape(std::move(words)));
  if ((types & kString) != 0 && keywords.length.needed <= keywords.length.left)
    shapes.push_back(grammar_.add(StringShape(keywords.length)));
  if ((types & kNumber) != 0) {
    NumberBounds bounds = keywords.bounds;
    bounds.integer = (types & kFraction) == 0;
    if (NumberRange range(bounds); !range.empty()) shapes.push_back(grammar_.add(std::move(range)));
  }
  if ((types & kObject) != 0)
    if (const auto object = object_shape(keywords)) shapes.push_back(*object);
  if ((types & kArray) != 0)
    if (const auto array = array_shape(keywords)) shapes.push_back(*array);
  grammar_.values[value].shapes = std::move(shapes);
}

std::optional<ShapeId> SchemaCompiler::object_shape(const SchemaKeywords& keywords) {
  std::vector<std::string> names;
  std::vector<ValueId> values;
  std::unordered_map<std::string_view, std::size_t> places;
  if (keywords.properties != nullptr) {
    cost_.properties += keywords.properties->size();
    if (cost_.properties > limits_.properties)
      keywords.refuse("properties", "the schema has more than " + std::to_string(limits_.properties) +
                                        " properties in all: make it smaller");
    for (const auto& [name, schema] : keywords.properties->items()) {
      names.push_back(name);
      values.push_back(value_of(schema, keywords.pointer + "/properties/" + pointer_part(name), kAll));
    }
  }
  ValueId additional = kNoValue;
  if (keywords.additional == nullptr || *keywords.additional == true) {
    additional = free_value(kAll);
  } else if (*keywords.additional != false) {
    additional = value_of(*keywords.additional, keywords.pointer + "/additionalProperties", kAll);
  }
  std::vector<std::string> required_names;
  if (keywords.required != nullptr) required_names = keywords.required->get<std::vector<std::string>>();
  names.reserve(names.size() + required_names.size());  // the map's keys are parts of them
  for (std::size_t i = 0; i < names.size(); ++i) places.emplace(names[i], i);
  std::vector<bool> required(names.size(), false);
  for (const std::string& name : required_names) {
    if (const auto known = places.find(name); known != places.end()) {
      required[known->second] = true;
      continue;
    }
    if (additional == kNoValue) return {};
    if (++cost_.properties > limits_.properties)
      keywords.refuse("required", "the schema has more than " + std::to_string(limits_.properties) +
                                      " properties in all: make it smaller");
    names.push_back(name);
    places.emplace(names.back(), names.size() - 1);
    values.push_back(additional);
    required.push_back(true);
  }
  return grammar_.add(make_object(grammar_, names, std::move(values), required, additional));
}

std::optional<ShapeId> SchemaCompiler::array_shape(const SchemaKeywords& keywords) {
  ArrayShape array;
  array.items =
      keywords.items == nullptr ? free_value(kAll) : value_of(*keywords.items, keywords.pointer + "/items", kAll);
  array.min = keywords.min_items;
  array.max = keywords.max_items.value_or(ArrayShape::kUnlimited);
  if (array.min > array.max) return {};
  return grammar_.add(std::move(array));
}

}  // namespace strata
