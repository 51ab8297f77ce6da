// Values: construction, nesting, truth, equality, order, iteration.
#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace strata::jinja {
namespace {

constexpr std::size_t kIndexedEntries = 12;
// A string value of its own for each character costs a hundred bytes.
constexpr std::size_t kMaxCharacters = 1 << 20;

int nesting(const Value& value) {
  if (const Sequence* sequence = value.sequence()) return sequence->depth;
  if (const Dict* dict = value.dict()) return dict->depth;
  if (const auto* loop = value.get<LoopRef>()) return (*loop)->items->depth + 1;
  if (const auto* callable = value.get<CallableRef>()) return nesting((*callable)->self) + 1;
  return 0;
}

int nesting_around(int inner) {
  if (inner >= kMaxNesting)
    throw Failure("a value is nested more than " + std::to_string(kMaxNesting) + " levels deep");
  return inner + 1;
}

void require_hashable(const Value& value) {
  const Sequence* sequence = value.sequence();
  if (value.dict() != nullptr || (sequence != nullptr && sequence->kind == Sequence::Kind::list))
    throw Failure("unhashable type: '" + type_name(value) + "'");
  if (sequence != nullptr && sequence->kind == Sequence::Kind::tuple) {
    for (const Value& item : sequence->items) require_hashable(item);
  }
}

// Python compares an int with a float exactly.
int compare_numbers(const Value& a, const Value& b, bool& unordered) {
  const std::int64_t *x = a.integer(), *y = b.integer();
  const auto order = [](auto left, auto right) { return left < right ? -1 : left > right ? 1 : 0; };
  if (a.get<double>() == nullptr && b.get<double>() == nullptr) {
    return order(*x, *y);
  }
  const double left = as_double(a), right = as_double(b);
  if (std::isnan(left) || std::isnan(right)) {
    unordered = true;
    return 1;
  }
  return order(static_cast<long double>(x ? static_cast<long double>(*x) : left),
               static_cast<long double>(y ? static_cast<long double>(*y) : right));
}

bool equal_sequences(const Sequence& a, const Sequence& b, int depth) {
  if (&a == &b) return true;
  const auto kind = a.kind;
  if (kind != b.kind || kind == Sequence::Kind::generator || kind == Sequence::Kind::view) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(),
                    [depth](const Value& x, const Value& y) { return equal(x, y, depth + 1); });
}

bool equal_dicts(const Dict& a, const Dict& b, int depth) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.key);
    return other != nullptr && equal(entry.value, *other, depth + 1);
  });
}

}  // namespace

Value::Value(Text text, bool markup) : data_(std::make_shared<const String>(String{std::move(text), markup})) {}

Value Value::undefined(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

const Text* Value::text() const {
  const auto* string = get<StringRef>();
  return string != nullptr ? &(*string)->text : nullptr;
}

bool Value::is_markup() const {
  const auto* string = get<StringRef>();
  return string != nullptr && (*string)->markup;
}

Sequence* Value::sequence() const {
  const auto* sequence = get<SequenceRef>();
  return sequence != nullptr ? sequence->get() : nullptr;
}

const Dict* Value::dict() const {
  const auto* dict = get<DictRef>();
  return dict != nullptr ? dict->get() : nullptr;
}

const std::int64_t* Value::integer() const {
  static constexpr std::int64_t kBool[] = {0, 1};
  if (const bool* value = get<bool>()) return &kBool[*value ? 1 : 0];
  return get<std::int64_t>();
}

SequenceRef Sequence::make(Kind kind, std::vector<Value> items, std::string label) {
  int inner = 0;
  for (const Value& item : items) inner = std::max(inner, nesting(item));
  return std::make_shared<Sequence>(Sequence{kind, std::move(items), nesting_around(inner), std::move(label)});
}

Value make_list(std::vector<Value> items) { return Sequence::make(Sequence::Kind::list, std::move(items)); }
Value make_tuple(std::vector<Value> items) { return Sequence::make(Sequence::Kind::tuple, std::move(items)); }
Value make_generator(std::vector<Value> items) {
  return Sequence::make(Sequence::Kind::generator, std::move(items), "<generator object>");
}

void Dict::set(Value key, Value value) {
  depth = std::max(depth, nesting_around(std::max(nesting(key), nesting(value))));
  if (const Value* old = find(key)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  entries.push_back({std::move(key), std::move(value)});
  if (entries.size() < kIndexedEntries) return;
  for (std::size_t i = index_.empty() ? 0 : entries.size() - 1; i < entries.size(); ++i) {
    if (const Text* text = entries[i].key.text()) index_.emplace(text->bytes(), i);
  }
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) {
    const auto found = index_.find(std::string(key));
    return found != index_.end() ? &entries[found->second].value : nullptr;
  }
  for (const Entry& entry : entries) {
    const Text* text = entry.key.text();
    if (text != nullptr && text->bytes() == key) return &entry.value;
  }
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  if (const Text* text = key.text()) return find(text->bytes());
  require_hashable(key);
  for (const Entry& entry : entries) {
    if (equal(entry.key, key)) return &entry.value;
  }
  return nullptr;
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Namespace::set(const std::string& name, Value value) {
  if (const Value* old = find(name)) {
    *const_cast<Value*>(old) = std::move(value);
  } else {
    attributes.emplace_back(name, std::move(value));
  }
}

Value from_json(const Json& json, bool from_input, int depth) {
  nesting_around(depth);
  switch (json.type()) {
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<std::int64_t>();
    case Json::value_t::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        throw Failure("the integer " + std::to_string(number) + " does not fit 64 bits with a sign");
      return static_cast<std::int64_t>(number);
    }
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return Text(json.get_ref<const std::string&>(), from_input);
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(item, from_input, depth + 1));
      return make_list(std::move(items));
    }
    case Json::value_t::object: {
      auto dict = std::make_shared<Dict>();
      for (const auto& [key, value] : json.items())
        dict->set(Text(key, from_input), from_json(value, from_input, depth + 1));
      return DictRef(std::move(dict));
    }
    default:
      return {};
  }
}

std::string type_name(const Value& value) {
  struct Namer {
    std::string operator()(const Undefined&) { return "Undefined"; }
    std::string operator()(None) { return "NoneType"; }
    std::string operator()(bool) { return "bool"; }
    std::string operator()(std::int64_t) { return "int"; }
    std::string operator()(double) { return "float"; }
    std::string operator()(const StringRef& string) { return string->markup ? "Markup" : "str"; }
    std::string operator()(const SequenceRef& sequence) {
      switch (sequence->kind) {
        case Sequence::Kind::list:
          return "list";
        case Sequence::Kind::tuple:
          return "tuple";
        case Sequence::Kind::range:
          return "range";
        case Sequence::Kind::generator:
          return "generator";
        case Sequence::Kind::view:
          return "dict view";
      }
      return "list";
    }
    std::string operator()(const DictRef&) { return "dict"; }
    std::string operator()(Namespace*) { return "Namespace"; }
    std::string operator()(const CallableRef& callable) {
      return callable->kind == Callable::Kind::macro ? "Macro" : "function";
    }
    std::string operator()(const LoopRef&) { return "LoopContext"; }
  };
  return std::visit(Namer{}, value.data());
}

bool truthy(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const std::int64_t* integer = value.integer()) return *integer != 0;
  if (const double* number = value.get<double>()) return *number != 0;
  if (const Text* text = value.text()) return !text->empty();
  if (const Dict* dict = value.dict()) return !dict->entries.empty();
  if (const Sequence* sequence = value.sequence())
    return sequence->kind == Sequence::Kind::generator || !sequence->items.empty();
  return true;
}

bool is_number(const Value& value) { return value.integer() != nullptr || value.get<double>() != nullptr; }

double as_double(const Value& value) {
  if (const double* number = value.get<double>()) return *number;
  return static_cast<double>(*value.integer());
}

std::int64_t as_index(const Value& value, const char* what) {
  require_defined(value);
  const std::int64_t* integer = value.integer();
  if (integer == nullptr) throw Failure(std::string(what) + " must be an integer, not " + type_name(value));
  return *integer;
}

void fail_undefined(const Value& value) { throw Failure(*value.get<Undefined>()->why); }

void require_defined(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
}

bool equal(const Value& a, const Value& b, int depth) {
  nesting_around(depth);
  if (is_number(a) && is_number(b)) {
    bool unordered = false;
    return compare_numbers(a, b, unordered) == 0;
  }
  if (a.data().index() != b.data().index()) return false;
  if (const Text* text = a.text()) return text->bytes() == b.text()->bytes();
  if (const Sequence* sequence = a.sequence()) return equal_sequences(*sequence, *b.sequence(), depth);
  if (const Dict* dict = a.dict()) return equal_dicts(*dict, *b.dict(), depth);
  if (const auto* callable = a.get<CallableRef>()) return *callable == *b.get<CallableRef>();
  if (const auto* loop = a.get<LoopRef>()) return *loop == *b.get<LoopRef>();
  if (const auto* space = a.get<Namespace*>()) return *space == *b.get<Namespace*>();
  return true;  // undefined or none
}

int compare(const Value& a, const Value& b, const char* op, bool& unordered, int depth) {
  nesting_around(depth);
  require_defined(a);
  require_defined(b);
  if (is_number(a) && is_number(b)) return compare_numbers(a, b, unordered);
  // The order of bytes of UTF-8 is the order of its characters.
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->bytes().compare(b.text()->bytes());
  const Sequence *x = a.sequence(), *y = b.sequence();
  if (x != nullptr && y != nullptr && x->kind == y->kind &&
      (x->kind == Sequence::Kind::list || x->kind == Sequence::Kind::tuple)) {
    const std::size_t common = std::min(x->items.size(), y->items.size());
    for (std::size_t i = 0; i < common; ++i) {
      if (!equal(x->items[i], y->items[i], depth + 1))
        return compare(x->items[i], y->items[i], op, unordered, depth + 1);
    }
    return x->items.size() < y->items.size() ? -1 : x->items.size() > y->items.size() ? 1 : 0;
  }
  throw Failure("'" + std::string(op) + "' not supported between instances of '" + type_name(a) + "' and '" +
                type_name(b) + "'");
}

bool less(const Value& a, const Value& b) {
  bool unordered = false;
  return compare(a, b, "<", unordered) < 0 && !unordered;
}

std::int64_t length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.text()) return static_cast<std::int64_t>(character_count(text->bytes()));
  if (const Dict* dict = value.dict()) return static_cast<std::int64_t>(dict->entries.size());
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && sequence->kind != Sequence::Kind::generator)
    return static_cast<std::int64_t>(sequence->items.size());
  if (const auto* loop = value.get<LoopRef>()) return static_cast<std::int64_t>((*loop)->items->items.size());
  throw Failure("object of type '" + type_name(value) + "' has no len()");
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.text() != nullptr || value.sequence() != nullptr || value.dict() != nullptr ||
         value.get<LoopRef>() != nullptr;
}

std::vector<Value> iterate(const Value& value) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (Sequence* sequence = value.sequence()) {
    if (sequence->kind == Sequence::Kind::generator) return std::exchange(sequence->items, {});
    return sequence->items;
  }
  if (const Dict* dict = value.dict()) {
    for (const Dict::Entry& entry : dict->entries) items.push_back(entry.key);
    return items;
  }
  if (const Text* text = value.text()) {
    if (text->size() > kMaxCharacters) throw Failure("a string of more than a million bytes is taken apart");
    for (std::size_t i = 0; i < text->size();) {
      const std::size_t next = i + character_at(text->bytes(), i).bytes;
      items.push_back(text->slice(i, next));
      i = next;
    }
    return items;
  }
  throw Failure("'" + type_name(value) + "' object is not iterable");
}

bool contains(const Value& haystack, const Value& needle) {
  if (const Text* text = haystack.text()) {
    if (needle.text() == nullptr)
      throw Failure("'in <string>' requires string as left operand, not " + type_name(needle));
    return text->bytes().find(needle.text()->bytes()) != std::string::npos;
  }
  if (const Dict* dict = haystack.dict()) return dict->find(needle) != nullptr;
  if (const Sequence* sequence = haystack.sequence(); sequence && sequence->kind != Sequence::Kind::generator) {
    return std::any_of(sequence->items.begin(), sequence->items.end(),
                       [&](const Value& item) { return equal(item, needle); });
  }
  if (!is_iterable(haystack)) throw Failure("argument of type '" + type_name(haystack) + "' is not iterable");
  const std::vector<Value> items = iterate(haystack);
  return std::any_of(items.begin(), items.end(), [&](const Value& item) { return equal(item, needle); });
}

}  // namespace strata::jinja
