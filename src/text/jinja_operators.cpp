// Operators: arithmetic as in Python, and access as in jinja2's sandbox.
#include "text/jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "text/jinja_format.h"

namespace strata::jinja {
namespace {

constexpr std::size_t kMaxItems = 1 << 20;
constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void fail_operands(BinaryOp op, const Value& a, const Value& b) {
  throw Failure(std::string("unsupported operand type(s) for ") + kSymbols[static_cast<int>(op)] + ": '" +
                type_name(a) + "' and '" + type_name(b) + "'");
}

[[noreturn]] void fail_overflow() { throw Failure("an integer does not fit 64 bits"); }
[[noreturn]] void fail_zero() { throw Failure("division by zero"); }

std::int64_t integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) fail_overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
  return result;
}

Value integer_binary(BinaryOp op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOp::subtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOp::multiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOp::divide:
      if (b == 0) fail_zero();
      return static_cast<double>(a) / static_cast<double>(b);
    case BinaryOp::floor_divide:
      if (b == 0) fail_zero();
      if (b == -1) {
        overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
      } else {
        result = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
      }
      break;
    case BinaryOp::modulo:
      if (b == 0) fail_zero();
      result = b == -1 ? 0 : a % b;
      if (result != 0 && (result < 0) != (b < 0)) result += b;
      break;
    case BinaryOp::power:
      if (b >= 0) return integer_power(a, b);
      if (a == 0) fail_zero();
      return std::pow(static_cast<double>(a), static_cast<double>(b));
  }
  if (overflow) fail_overflow();
  return result;
}

Value real_binary(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add:
      return a + b;
    case BinaryOp::subtract:
      return a - b;
    case BinaryOp::multiply:
      return a * b;
    case BinaryOp::divide:
      if (b == 0) fail_zero();
      return a / b;
    case BinaryOp::floor_divide:
    case BinaryOp::modulo: {
      if (b == 0) fail_zero();
      double rest = std::fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0 && (b < 0) != (rest < 0)) {
        rest += b;
        quotient -= 1;
      } else if (rest == 0) {
        rest = std::copysign(0.0, b);
      }
      if (op == BinaryOp::modulo) return rest;
      if (quotient == 0) return std::copysign(0.0, a / b);
      const double floored = std::floor(quotient);
      return quotient - floored > 0.5 ? floored + 1 : floored;
    }
    case BinaryOp::power: {
      if (a == 0 && b < 0) fail_zero();
      const double result = std::pow(a, b);
      if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) throw Failure("a complex number is not supported");
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) throw Failure("Numerical result out of range");
      return result;
    }
  }
  return {};
}

Value add_text(const Value& a, const Value& b) {
  const bool markup = a.is_markup() || b.is_markup();
  Text out = markup && !a.is_markup() ? escape_html(*a.text()) : *a.text();
  out.append(markup && !b.is_markup() ? escape_html(*b.text()) : *b.text());
  return Value(std::move(out), markup);
}

Value repeat(const Value& value, std::int64_t count) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  if (const Text* text = value.text()) {
    if (!text->empty() && times > kMaxTextBytes / text->size()) throw Failure("a string grows beyond 16 MiB");
    Text out;
    for (std::size_t i = 0; i < times && !text->empty(); ++i) out.append(*text);
    return Value(std::move(out), value.is_markup());
  }
  const Sequence& sequence = *value.sequence();
  if (!sequence.items.empty() && times > kMaxItems / sequence.items.size())
    throw Failure("a list grows beyond a million items");
  std::vector<Value> items;
  for (std::size_t i = 0; i < times && !sequence.items.empty(); ++i)
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  return Sequence::make(sequence.kind, std::move(items));
}

bool is_concrete(const Sequence* sequence) {
  return sequence && (sequence->kind == Sequence::Kind::list || sequence->kind == Sequence::Kind::tuple);
}

template <std::size_t N>
bool is_one_of(const std::string& name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Value method(const Value& self, const std::string& name) {
  auto callable = std::make_shared<Callable>();
  callable->name = name;
  callable->self = self;
  callable->kind = Callable::Kind::method;
  return CallableRef(std::move(callable));
}

Value unsafe(const Value& object, const std::string& name) {
  return Value::undefined("access to attribute '" + name + "' of '" + type_name(object) + "' object is unsafe.");
}

Value missing(const Value& object, const std::string& name) {
  return Value::undefined("'" + (object.is_none() ? "None" : type_name(object) + " object") + "' has no attribute '" +
                          name + "'");
}

std::optional<Value> loop_attribute(const Value& object, const Loop& loop, const std::string& name) {
  const auto index = static_cast<std::int64_t>(loop.index0);
  const auto count = static_cast<std::int64_t>(loop.items->items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return count - index;
  if (name == "revindex0") return count - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == count;
  if (name == "length") return count;
  if (name == "depth") return std::int64_t{1};
  if (name == "depth0") return std::int64_t{0};
  if (name == "previtem")
    return index > 0 ? loop.items->items[loop.index0 - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < count ? loop.items->items[loop.index0 + 1] : Value::undefined("there is no next item");
  if (name == "cycle") return method(object, name);
  return std::nullopt;
}

// What Python's getattr finds on the value itself; nullopt is its AttributeError.
std::optional<Value> own_attribute(const Value& object, const std::string& name) {
  static constexpr std::string_view kStr[] = {
      "capitalize", "casefold",   "center",    "count",        "encode",       "endswith",     "expandtabs", "find",
      "format",     "format_map", "index",     "isalnum",      "isalpha",      "isascii",      "isdecimal",  "isdigit",
      "islower",    "isnumeric",  "isspace",   "istitle",      "isupper",      "join",         "ljust",      "lower",
      "lstrip",     "maketrans",  "partition", "removeprefix", "removesuffix", "replace",      "rfind",      "rindex",
      "rjust",      "rpartition", "rsplit",    "rstrip",       "split",        "splitlines",   "startswith", "strip",
      "swapcase",   "title",      "translate", "upper",        "zfill",        "isidentifier", "isprintable"};
  static constexpr std::string_view kList[] = {"clear", "copy", "count", "index", "pop"};
  static constexpr std::string_view kListUnsafe[] = {"append", "extend", "insert", "remove", "reverse", "sort"};
  static constexpr std::string_view kTuple[] = {"count", "index"};
  static constexpr std::string_view kDict[] = {"copy", "fromkeys", "get", "items", "keys", "values"};
  static constexpr std::string_view kDictUnsafe[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (object.text() != nullptr && is_one_of(name, kStr)) return method(object, name);
  if (const Sequence* sequence = object.sequence()) {
    const bool list = sequence->kind == Sequence::Kind::list;
    if (list && is_one_of(name, kList)) return method(object, name);
    if (list && is_one_of(name, kListUnsafe)) return unsafe(object, name);
    if (sequence->kind == Sequence::Kind::tuple && is_one_of(name, kTuple)) return method(object, name);
  }
  if (object.dict() != nullptr) {
    if (is_one_of(name, kDict)) return method(object, name);
    if (is_one_of(name, kDictUnsafe)) return unsafe(object, name);
  }
  if (const auto* space = object.get<Namespace*>()) {
    if (const Value* value = (*space)->find(name)) return *value;
  }
  if (const auto* loop = object.get<LoopRef>()) return loop_attribute(object, **loop, name);
  if (name == "__class__" || name == "__init__" || name == "__doc__") return unsafe(object, name);
  return std::nullopt;
}

// object[index], or nullopt for Python's TypeError and LookupError.
std::optional<Value> own_item(const Value& object, const Value& index) {
  if (const Dict* dict = object.dict()) {
    const Sequence* sequence = index.sequence();
    if (index.dict() != nullptr || (sequence && sequence->kind == Sequence::Kind::list)) return std::nullopt;
    const Value* value = dict->find(index);
    return value ? std::optional(*value) : std::nullopt;
  }
  const std::int64_t* position = index.integer();
  const Sequence* sequence = object.sequence();
  const bool indexable =
      object.text() != nullptr || (sequence && (is_concrete(sequence) || sequence->kind == Sequence::Kind::range));
  if (position == nullptr || !indexable) return std::nullopt;
  const std::int64_t count = length(object);
  const std::int64_t at = *position < 0 ? *position + count : *position;
  if (at < 0 || at >= count) return std::nullopt;
  if (sequence != nullptr) return sequence->items[static_cast<std::size_t>(at)];
  const Text& text = *object.text();
  const std::size_t begin = byte_offset(text.bytes(), static_cast<std::size_t>(at));
  return text.slice(begin, begin + character_at(text.bytes(), begin).bytes);
}

std::optional<std::int64_t> slice_bound(const Value& value) {
  if (value.is_none()) return std::nullopt;
  if (value.integer() == nullptr) throw Failure("slice indices must be integers or None or have an __index__ method");
  return *value.integer();
}

// The positions that Python's slice visits.
std::vector<std::size_t> slice_positions(std::int64_t count, const Value& start, const Value& stop, const Value& step) {
  const std::int64_t by = slice_bound(step).value_or(1);
  if (by == 0) throw Failure("slice step cannot be zero");
  const std::int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? count : count - 1;
  const auto clamp = [&](std::optional<std::int64_t> bound, std::int64_t fallback) {
    if (!bound) return fallback;
    return std::clamp(*bound < 0 ? *bound + count : *bound, lowest, highest);
  };
  const std::int64_t end = clamp(slice_bound(stop), by > 0 ? highest : lowest);
  std::vector<std::size_t> positions;
  for (std::int64_t i = clamp(slice_bound(start), by > 0 ? lowest : highest); by > 0 ? i < end : i > end;) {
    positions.push_back(static_cast<std::size_t>(i));
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  return positions;
}

Value slice_text(const Text& text, const Value& start, const Value& stop, const Value& step) {
  const auto positions = slice_positions(static_cast<std::int64_t>(character_count(text.bytes())), start, stop, step);
  if (positions.empty()) return Text();
  if (slice_bound(step).value_or(1) == 1) {
    const std::size_t begin = byte_offset(text.bytes(), positions.front());
    const std::size_t size = byte_offset(std::string_view(text.bytes()).substr(begin), positions.size());
    return text.slice(begin, begin + size);
  }
  std::vector<std::size_t> offsets;
  for (std::size_t i = 0; i < text.size(); i += character_at(text.bytes(), i).bytes) offsets.push_back(i);
  Text out;
  for (const std::size_t position : positions) {
    const std::size_t begin = offsets[position];
    out.append(text.slice(begin, begin + character_at(text.bytes(), begin).bytes));
  }
  return out;
}

}  // namespace

Value binary(BinaryOp op, const Value& a, const Value& b) {
  require_defined(a);
  if (op == BinaryOp::modulo && a.text() != nullptr) return format_percent(*a.text(), b);
  require_defined(b);
  if (a.integer() != nullptr && b.integer() != nullptr) return integer_binary(op, *a.integer(), *b.integer());
  if (is_number(a) && is_number(b)) return real_binary(op, as_double(a), as_double(b));
  if (op == BinaryOp::add) {
    if (a.text() != nullptr && b.text() != nullptr) return add_text(a, b);
    const Sequence *x = a.sequence(), *y = b.sequence();
    if (is_concrete(x) && is_concrete(y) && x->kind == y->kind) {
      std::vector<Value> items = x->items;
      items.insert(items.end(), y->items.begin(), y->items.end());
      return Sequence::make(x->kind, std::move(items));
    }
  }
  if (op == BinaryOp::multiply) {
    if (b.integer() != nullptr && (a.text() != nullptr || is_concrete(a.sequence()))) return repeat(a, *b.integer());
    if (a.integer() != nullptr && (b.text() != nullptr || is_concrete(b.sequence()))) return repeat(b, *a.integer());
  }
  fail_operands(op, a, b);
}

Value signed_value(const Value& value, bool minus) {
  require_defined(value);
  if (const std::int64_t* integer = value.integer())
    return minus ? integer_binary(BinaryOp::subtract, 0, *integer) : Value(*integer);
  if (const double* number = value.get<double>()) return minus ? -*number : *number;
  throw Failure(std::string("bad operand type for unary ") + (minus ? "-" : "+") + ": '" + type_name(value) + "'");
}

bool compare_values(CompareOp op, const Value& a, const Value& b) {
  bool unordered = false;
  switch (op) {
    case CompareOp::equal:
      return equal(a, b);
    case CompareOp::not_equal:
      return !equal(a, b);
    case CompareOp::less:
      return compare(a, b, "<", unordered) < 0 && !unordered;
    case CompareOp::less_equal:
      return compare(a, b, "<=", unordered) <= 0 && !unordered;
    case CompareOp::greater:
      return compare(a, b, ">", unordered) > 0 && !unordered;
    case CompareOp::greater_equal:
      return compare(a, b, ">=", unordered) >= 0 && !unordered;
    case CompareOp::in:
      return contains(b, a);
    case CompareOp::not_in:
      return !contains(b, a);
  }
  return false;
}

Value get_attribute(const Value& object, const std::string& name) {
  require_defined(object);
  if (std::optional<Value> own = own_attribute(object, name)) return *std::move(own);
  if (const Dict* dict = object.dict()) {
    if (const Value* item = dict->find(name)) return *item;
  }
  return missing(object, name);
}

Value get_item(const Value& object, const Value& index) {
  require_defined(object);
  if (std::optional<Value> item = own_item(object, index)) return *std::move(item);
  if (const Text* name = index.text()) {
    if (std::optional<Value> own = own_attribute(object, name->bytes())) return *std::move(own);
    return missing(object, name->bytes());
  }
  return missing(object, repr(index));
}

Value get_slice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  require_defined(object);
  if (const Text* text = object.text()) return slice_text(*text, start, stop, step);
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr || !(is_concrete(sequence) || sequence->kind == Sequence::Kind::range))
    throw Failure("'" + type_name(object) + "' object is not subscriptable by a slice");
  std::vector<Value> items;
  const auto count = static_cast<std::int64_t>(sequence->items.size());
  for (const std::size_t i : slice_positions(count, start, stop, step)) items.push_back(sequence->items[i]);
  return Sequence::make(sequence->kind, std::move(items), "range(...)");
}

}  // namespace strata::jinja
