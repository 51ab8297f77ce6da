// What filters, methods and functions of the Jinja interpreter share: a budget, and the binding of arguments.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "text/jinja_format.h"
#include "text/jinja_value.h"

namespace strata::jinja {

/// Bounds what one rendering may take. A conversation of 10,000 messages takes a few million steps.
class Budget {
 public:
  static constexpr std::int64_t kSteps = 50'000'000;
  static constexpr int kDepth = 1000;

  /// Throws Failure when the steps are used up.
  void charge(std::int64_t steps) {
    steps_ += steps;
    if (steps_ > kSteps) throw Failure("the template takes too many steps");
  }
  /// For a new value: a step for each 16 bytes or 8 items of it.
  void charge_for(const Value& value);

  /// One level of evaluation inside another; throws Failure beyond kDepth.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) {
      if (budget_.depth_ >= kDepth) throw Failure("maximum recursion depth exceeded");
      ++budget_.depth_;
    }
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  std::int64_t steps_ = 0;
  int depth_ = 0;
};

/// The arguments of one call.
struct Call {
  Arguments args;
  NamedArguments named;
};

/// Arguments bound to parameters by position or name, as Python binds them.
class Bound {
 public:
  /// Throws Failure if there are too many, an unknown name or one given twice.
  Bound(std::string_view function, const Call& call, std::initializer_list<const char*> parameters);

  bool has(std::size_t i) const { return values_[i] != nullptr; }
  /// Throws Failure if it is missing.
  const Value& value(std::size_t i) const;
  Value value_or(std::size_t i, Value fallback) const { return has(i) ? *values_[i] : std::move(fallback); }
  std::int64_t integer(std::size_t i, std::int64_t fallback) const;
  bool flag(std::size_t i, bool fallback) const { return has(i) ? truthy(*values_[i]) : fallback; }
  /// Throws Failure if it is missing or no string.
  const Text& text(std::size_t i) const;
  /// Null if it is missing or None; throws Failure if it is no string.
  const std::string* bytes_or_null(std::size_t i) const;

 private:
  std::string function_;
  std::vector<const char*> names_;
  std::vector<const Value*> values_;
};

/// input | name(...). Throws Failure, also for filters that do not exist.
Value apply_filter(Budget& budget, std::string_view name, const Value& input, const Call& call);
/// input is name(...)
bool apply_test(Budget& budget, std::string_view name, const Value& input, const Call& call);
/// self.name(...), a method that get_attribute gave.
Value call_method(Budget& budget, const Value& self, std::string_view name, const Call& call);
/// A global function other than namespace: range, dict, raise_exception, strftime_now.
Value call_function(Budget& budget, std::string_view name, const Call& call);
/// Whether such a function exists; namespace counts.
bool is_function(std::string_view name);
/// iterate() that charges for the items.
std::vector<Value> iterate(Budget& budget, const Value& value);

}  // namespace strata::jinja
