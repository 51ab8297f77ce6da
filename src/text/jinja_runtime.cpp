// The budget, the binding of arguments, and the global functions.
#include "text/jinja_runtime.h"

#include <algorithm>
#include <ctime>

namespace strata::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;  // as in jinja2's sandbox

Value make_range(const Call& call) {
  if (call.args.empty() || call.args.size() > 3 || !call.named.empty())
    throw Failure("range expects 1 to 3 arguments without names");
  std::int64_t start = 0, stop = as_index(call.args[0], "an argument of range"), step = 1;
  if (call.args.size() > 1) {
    start = stop;
    stop = as_index(call.args[1], "an argument of range");
  }
  if (call.args.size() > 2) step = as_index(call.args[2], "an argument of range");
  if (step == 0) throw Failure("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(items.size()) == kMaxRange)
      throw Failure("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    items.push_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  std::string label = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  if (step != 1) label += ", " + std::to_string(step);
  return Sequence::make(Sequence::Kind::range, std::move(items), label + ")");
}

Value make_dict(Budget& budget, const Call& call) {
  auto dict = std::make_shared<Dict>();
  if (call.args.size() > 1) throw Failure("dict expected at most 1 argument");
  if (!call.args.empty()) {
    if (const Dict* source = call.args[0].dict()) {
      *dict = *source;
    } else {
      for (const Value& item : iterate(budget, call.args[0])) {
        const std::vector<Value> pair = iterate(budget, item);
        if (pair.size() != 2) throw Failure("dict needs pairs of a key and a value");
        dict->set(pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : call.named) dict->set(Text::of_template(name), value);
  return DictRef(std::move(dict));
}

// transformers' strftime_now: the local time.
Value strftime_now(const Call& call) {
  const Bound bound("strftime_now", call, {"format"});
  const std::string& format = bound.text(0).bytes();
  if (format.empty()) return Text();
  if (format.size() > 1024) throw Failure("the format of strftime_now is too long");
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(16 * format.size() + 256, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return Text(std::move(out), bound.text(0).has_input());
}

}  // namespace

void Budget::charge_for(const Value& value) {
  if (const Text* text = value.text()) charge(static_cast<std::int64_t>(text->size() / 16));
  if (const Sequence* sequence = value.sequence()) charge(static_cast<std::int64_t>(sequence->items.size() / 8));
  if (const Dict* dict = value.dict()) charge(static_cast<std::int64_t>(dict->entries.size() / 8));
}

Bound::Bound(std::string_view function, const Call& call, std::initializer_list<const char*> parameters)
    : function_(function), names_(parameters), values_(parameters.size(), nullptr) {
  if (call.args.size() > names_.size())
    throw Failure(function_ + "() takes at most " + std::to_string(names_.size()) + " arguments (" +
                  std::to_string(call.args.size()) + " given)");
  for (std::size_t i = 0; i < call.args.size(); ++i) values_[i] = &call.args[i];
  for (const auto& [name, value] : call.named) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) throw Failure(function_ + "() got an unexpected keyword argument '" + name + "'");
    const Value*& slot = values_[static_cast<std::size_t>(found - names_.begin())];
    if (slot != nullptr) throw Failure(function_ + "() got multiple values for argument '" + name + "'");
    slot = &value;
  }
}

const Value& Bound::value(std::size_t i) const {
  if (!has(i)) throw Failure(function_ + "() misses its argument '" + names_[i] + "'");
  return *values_[i];
}

std::int64_t Bound::integer(std::size_t i, std::int64_t fallback) const {
  return has(i) ? as_index(*values_[i], names_[i]) : fallback;
}

const Text& Bound::text(std::size_t i) const {
  require_defined(value(i));
  const Text* text = value(i).text();
  if (text == nullptr)
    throw Failure(function_ + "() argument '" + names_[i] + "' must be str, not " + type_name(value(i)));
  return *text;
}

const std::string* Bound::bytes_or_null(std::size_t i) const {
  return !has(i) || value(i).is_none() ? nullptr : &text(i).bytes();
}

std::vector<Value> iterate(Budget& budget, const Value& value) {
  std::vector<Value> items = iterate(value);
  budget.charge(static_cast<std::int64_t>(items.size()));
  return items;
}

bool is_function(std::string_view name) {
  return name == "range" || name == "dict" || name == "namespace" || name == "raise_exception" ||
         name == "strftime_now";
}

Value call_function(Budget& budget, std::string_view name, const Call& call) {
  if (name == "range") return make_range(call);
  if (name == "dict") return make_dict(budget, call);
  if (name == "strftime_now") return strftime_now(call);
  if (name == "raise_exception") {
    const Bound bound(name, call, {"message"});
    throw Failure(to_text(bound.value(0)).bytes());
  }
  throw Failure("'" + std::string(name) + "' is not callable");
}

}  // namespace strata::jinja
