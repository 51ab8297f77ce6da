// Values of the Jinja interpreter, with the meaning that Python gives them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/jinja_text.h"

namespace strata::jinja {

struct String;
struct Sequence;
struct Dict;
struct Callable;
struct Loop;
struct Namespace;
struct Macro;

/// jinja2's default Undefined: prints as nothing, is empty and false; whatever else one does with it fails with `why`.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};

using StringRef = std::shared_ptr<const String>;
using SequenceRef = std::shared_ptr<Sequence>;
using DictRef = std::shared_ptr<const Dict>;
using CallableRef = std::shared_ptr<const Callable>;
using LoopRef = std::shared_ptr<const Loop>;

/// A value. Containers are shared, as in Python. Namespaces live as long as the interpreter, because a template can tie
/// them into cycles; all else is nested at most kMaxNesting deep, so that it can be walked and freed by recursion.
class Value {
 public:
  using Variant = std::variant<Undefined, None, bool, std::int64_t, double, StringRef, SequenceRef, DictRef, Namespace*,
                               CallableRef, LoopRef>;

  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(Text text, bool markup = false);
  Value(SequenceRef value) : data_(std::move(value)) {}
  Value(DictRef value) : data_(std::move(value)) {}
  Value(Namespace* value) : data_(value) {}
  Value(CallableRef value) : data_(std::move(value)) {}
  Value(LoopRef value) : data_(std::move(value)) {}
  Value(const void*) = delete;  // else a pointer would become a bool
  static Value undefined(std::string why);

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }
  const Variant& data() const { return data_; }
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  /// The string, sequence or dict, or null if it is something else.
  const Text* text() const;
  bool is_markup() const;
  Sequence* sequence() const;
  const Dict* dict() const;
  /// An int or a bool (which is an int in Python), or null.
  const std::int64_t* integer() const;

 private:
  Variant data_;
};

inline constexpr int kMaxNesting = 200;

struct String {
  Text text;
  bool markup = false;  // MarkupSafe's Markup, which escapes what is added to it
};

/// All that Python iterates by index. A generator is empty once it was read.
struct Sequence {
  enum class Kind { list, tuple, range, generator, view };
  Kind kind = Kind::list;
  std::vector<Value> items;
  int depth = 1;
  std::string label;  // how a range, generator or view prints

  /// Throws Failure beyond kMaxNesting.
  static SequenceRef make(Kind kind, std::vector<Value> items, std::string label = {});
};
Value make_list(std::vector<Value> items);
Value make_tuple(std::vector<Value> items);
Value make_generator(std::vector<Value> items);

/// Keeps the order of insertion.
struct Dict {
  struct Entry {
    Value key, value;
  };
  std::vector<Entry> entries;
  int depth = 1;

  /// Replaces the value if the key is there. Throws Failure if the key is not hashable, and beyond kMaxNesting.
  void set(Value key, Value value);
  /// Null if it isn't there; throws Failure if the key is not hashable.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

 private:
  std::unordered_map<std::string, std::size_t> index_;  // of string keys, once there are more than a few entries
};

/// What a template can call.
struct Callable {
  std::string name;
  Value self;                    // of a bound method
  const Macro* macro = nullptr;  // of a macro or a caller
  enum class Kind { function, method, macro } kind = Kind::function;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
};

/// The `loop` of a for statement.
struct Loop {
  SequenceRef items;
  std::size_t index0 = 0;
  int depth0 = 0;
};

/// A JSON value; all its strings are of the origin given. Throws Failure for integers beyond 64 bits and beyond
/// kMaxNesting.
Value from_json(const Json& json, bool from_input, int depth = 0);

/// "str", "list", "dict" ... as Python names the type in its messages.
std::string type_name(const Value& value);
bool truthy(const Value& value);
/// Python's ==; throws Failure only for values nested into themselves.
bool equal(const Value& a, const Value& b, int depth = 0);
/// Python's < : negative, 0 or positive for numbers, strings and sequences. Throws Failure (TypeError) for others;
/// sets `unordered` if a NaN is met, when every comparison is false.
int compare(const Value& a, const Value& b, const char* op, bool& unordered, int depth = 0);
bool less(const Value& a, const Value& b);
/// len(): characters, items, entries, 0 of undefined. Throws Failure for others.
std::int64_t length(const Value& value);
/// What a for loop would visit: items, keys of a dict, characters; empties a generator. Throws Failure for others.
std::vector<Value> iterate(const Value& value);
bool is_iterable(const Value& value);
/// Python's `needle in haystack`.
bool contains(const Value& haystack, const Value& needle);
bool is_number(const Value& value);
/// As a double; only if is_number.
double as_double(const Value& value);
/// Integer argument of a function. Throws Failure that names `what`.
std::int64_t as_index(const Value& value, const char* what);
[[noreturn]] void fail_undefined(const Value& value);
/// Throws Failure if the value is undefined.
void require_defined(const Value& value);

}  // namespace strata::jinja
