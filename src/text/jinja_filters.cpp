// Filters of sequences and mappings, and the look-up of all filters.
#include <algorithm>
#include <functional>
#include <utility>

#include "text/jinja_operators.h"
#include "text/jinja_text_filters.h"

namespace strata::jinja {
namespace {

// Jinja's make_attrgetter: "a.b.0" walks into items; several paths with commas give a list.
class Getter {
 public:
  // `attribute` may be None: the value itself. `ignore_case`: strings in lower case.
  Getter(const Value& attribute, bool ignore_case, Value fallback = {}, bool several = false)
      : ignore_case_(ignore_case), fallback_(std::move(fallback)) {
    const Text* text = attribute.text();
    if (text == nullptr) {
      paths_.emplace_back();
      if (!attribute.is_none()) paths_.back().push_back(attribute);
      return;
    }
    const std::string comma = ",", dot = ".";
    for (const Text& path : split(*text, &comma, several ? -1 : 0, false)) {
      paths_.emplace_back();
      for (const Text& part : split(path, &dot, -1, false)) paths_.back().push_back(part_of(part));
    }
  }

  Value operator()(const Value& item) const {
    if (paths_.size() == 1) return get(item, paths_.front());
    std::vector<Value> values;
    for (const auto& path : paths_) values.push_back(get(item, path));
    return make_list(std::move(values));
  }

 private:
  static Value part_of(const Text& part) {
    const std::string& bytes = part.bytes();
    const bool number =
        !bytes.empty() && bytes.size() < 18 && bytes.find_first_not_of("0123456789") == std::string::npos;
    return number ? Value(static_cast<std::int64_t>(std::stoll(bytes))) : Value(part);
  }

  Value get(const Value& item, const std::vector<Value>& path) const {
    Value value = item;
    for (const Value& part : path) {
      value = get_item(value, part);
      if (value.is_undefined() && !fallback_.is_none()) value = fallback_;
    }
    if (ignore_case_ && value.text() != nullptr) return lower(*value.text());
    return value;
  }

  std::vector<std::vector<Value>> paths_;
  bool ignore_case_;
  Value fallback_;
};

std::vector<Value> sorted(Budget& budget, const std::vector<Value>& items,
                          const std::function<Value(const Value&)>& key, bool reverse) {
  std::vector<std::pair<Value, const Value*>> keyed;
  std::int64_t size = 0;
  for (const Value& item : items) {
    keyed.emplace_back(key(item), &item);
    size +=
        keyed.back().first.text() != nullptr ? static_cast<std::int64_t>(keyed.back().first.text()->size() / 64) : 1;
  }
  for (std::size_t n = items.size(); n > 0; n /= 2) budget.charge(size);
  std::stable_sort(keyed.begin(), keyed.end(), [reverse](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  std::vector<Value> out;
  for (const auto& [ignored, item] : keyed) out.push_back(*item);
  return out;
}

Value sort(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("sort", call, {"reverse", "case_sensitive", "attribute"});
  const Getter getter(bound.value_or(2, {}), !bound.flag(1, false), {}, true);
  return make_list(sorted(budget, iterate(budget, input), getter, bound.flag(0, false)));
}

Value dictsort(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("dictsort", call, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.text(1).bytes() : "key";
  if (by != "key" && by != "value") throw Failure("You can only sort by either \"key\" or \"value\"");
  require_defined(input);
  if (input.dict() == nullptr) throw Failure("'" + type_name(input) + "' object has no attribute 'items'");
  std::vector<Value> items;
  for (const Dict::Entry& entry : input.dict()->entries) items.push_back(make_tuple({entry.key, entry.value}));
  const Getter getter(std::int64_t{by == "key" ? 0 : 1}, !bound.flag(0, false));
  return make_list(sorted(budget, items, getter, bound.flag(2, false)));
}

Value items_of(Budget& budget, const Value& input, const Call& call) {
  Bound("items", call, {});
  if (input.is_undefined()) return make_generator({});
  if (input.dict() == nullptr) throw Failure("Can only get item pairs from a mapping.");
  std::vector<Value> items;
  for (const Dict::Entry& entry : input.dict()->entries) items.push_back(make_tuple({entry.key, entry.value}));
  budget.charge(static_cast<std::int64_t>(items.size()));
  return make_generator(std::move(items));
}

Value join(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("join", call, {"d", "attribute"});
  const Text separator = bound.has(0) ? to_text(bound.value(0)) : Text();
  const Getter getter(bound.value_or(1, {}), false);
  Text out;
  bool first = true;
  for (const Value& item : iterate(budget, input)) {
    if (!first) out.append(separator);
    first = false;
    out.append(to_text(getter(item)));
  }
  return out;
}

Value map(Budget& budget, const Value& input, const Call& call) {
  std::function<Value(const Value&)> convert;
  if (call.args.empty()) {
    const Bound bound("map", call, {"attribute", "default"});
    if (!bound.has(0)) throw Failure("map requires a filter argument");
    convert = Getter(bound.value(0), false, bound.value_or(1, {}));
  } else {
    const Call rest{{call.args.begin() + 1, call.args.end()}, call.named};
    if (call.args[0].text() == nullptr) throw Failure("the name of a filter must be a string");
    convert = [&budget, rest, filter = call.args[0].text()->bytes()](const Value& item) {
      return apply_filter(budget, filter, item, rest);
    };
  }
  std::vector<Value> out;
  for (const Value& item : iterate(budget, input)) out.push_back(convert(item));
  return make_generator(std::move(out));
}

// select, reject, selectattr and rejectattr.
Value select_items(Budget& budget, const Value& input, const Call& call, bool by_attribute, bool wanted) {
  if (!truthy(input)) return make_generator({});
  const std::size_t skipped = by_attribute ? 1 : 0;
  if (call.args.size() < skipped) throw Failure("Missing parameter for attribute name");
  const Getter getter(by_attribute ? call.args[0] : Value(), false);
  Call rest{{}, call.named};
  std::string test;
  if (call.args.size() > skipped) {
    if (call.args[skipped].text() == nullptr) throw Failure("the name of a test must be a string");
    test = call.args[skipped].text()->bytes();
    rest.args.assign(call.args.begin() + static_cast<std::ptrdiff_t>(skipped) + 1, call.args.end());
  }
  std::vector<Value> out;
  for (const Value& item : iterate(budget, input)) {
    const Value value = getter(item);
    if ((test.empty() ? truthy(value) : apply_test(budget, test, value, rest)) == wanted) out.push_back(item);
  }
  return make_generator(std::move(out));
}

Value unique(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("unique", call, {"case_sensitive", "attribute"});
  const Getter getter(bound.value_or(1, {}), !bound.flag(0, false));
  Dict seen;
  std::vector<Value> out;
  for (const Value& item : iterate(budget, input)) {
    const Value key = getter(item);
    budget.charge(key.text() != nullptr ? 1 : static_cast<std::int64_t>(seen.entries.size()));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, true);
    out.push_back(item);
  }
  return make_generator(std::move(out));
}

Value extreme(Budget& budget, const Value& input, const Call& call, bool largest) {
  const Bound bound(largest ? "max" : "min", call, {"case_sensitive", "attribute"});
  const std::vector<Value> items = iterate(budget, input);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Getter getter(bound.value_or(1, {}), !bound.flag(0, false));
  const Value* best = &items.front();
  Value best_key = getter(*best);
  for (std::size_t i = 1; i < items.size(); ++i) {
    Value key = getter(items[i]);
    if (!(largest ? less(best_key, key) : less(key, best_key))) continue;
    best = &items[i];
    best_key = std::move(key);
  }
  return *best;
}

Value sum(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("sum", call, {"attribute", "start"});
  const Getter getter(bound.value_or(0, {}), false);
  Value total = bound.value_or(1, std::int64_t{0});
  if (total.text() != nullptr) throw Failure("sum() can't sum strings");
  for (const Value& item : iterate(budget, input)) {
    total = binary(BinaryOp::add, total, getter(item));
    budget.charge_for(total);
  }
  return total;
}

Value first(Budget& budget, const Value& input, const Call& call) {
  Bound("first", call, {});
  if (const Sequence* sequence = input.sequence(); sequence && !sequence->items.empty()) return sequence->items.front();
  const std::vector<Value> items = iterate(budget, input);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(Budget& budget, const Value& input, const Call& call) {
  Bound("last", call, {});
  require_defined(input);
  const Sequence* sequence = input.sequence();
  if (sequence && sequence->kind == Sequence::Kind::generator) throw Failure("'generator' object is not reversible");
  if (sequence && !sequence->items.empty()) return sequence->items.back();
  const std::vector<Value> items = iterate(budget, input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value reverse(Budget& budget, const Value& input, const Call& call) {
  Bound("reverse", call, {});
  if (input.text() != nullptr) return get_slice(input, {}, {}, std::int64_t{-1});
  std::vector<Value> items = iterate(budget, input);
  std::reverse(items.begin(), items.end());
  return make_generator(std::move(items));
}

Value batch(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("batch", call, {"linecount", "fill_with"});
  const std::int64_t size = as_index(bound.value(0), "linecount");
  const Value fill = bound.value_or(1, {});
  std::vector<Value> out, row;
  for (const Value& item : iterate(budget, input)) {
    if (static_cast<std::int64_t>(row.size()) == size) out.push_back(make_list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    while (!fill.is_none() && static_cast<std::int64_t>(row.size()) < size) {
      budget.charge(1);
      row.push_back(fill);
    }
    out.push_back(make_list(std::move(row)));
  }
  return make_generator(std::move(out));
}

Value fallback(Budget&, const Value& input, const Call& call) {
  const Bound bound("default", call, {"default_value", "boolean"});
  const bool replaces = input.is_undefined() || (bound.flag(1, false) && !truthy(input));
  return replaces ? bound.value_or(0, Text()) : input;
}

Value attribute(Budget&, const Value& input, const Call& call) {
  const std::string& name = Bound("attr", call, {"name"}).text(0).bytes();
  // Unlike input.name this does not fall back to input["name"].
  if (input.dict() != nullptr && input.dict()->find(name) != nullptr &&
      get_attribute(DictRef(std::make_shared<Dict>()), name).is_undefined())
    return Value::undefined("'dict object' has no attribute '" + name + "'");
  return get_attribute(input, name);
}

constexpr std::pair<std::string_view, Filter> kFilters[] = {
    {"attr", attribute},
    {"batch", batch},
    {"count", [](Budget&, const Value& v, const Call&) { return Value(length(v)); }},
    {"d", fallback},
    {"default", fallback},
    {"dictsort", dictsort},
    {"first", first},
    {"items", items_of},
    {"join", join},
    {"last", last},
    {"length", [](Budget&, const Value& v, const Call&) { return Value(length(v)); }},
    {"list", [](Budget& b, const Value& v, const Call&) { return make_list(iterate(b, v)); }},
    {"map", map},
    {"max", [](Budget& b, const Value& v, const Call& c) { return extreme(b, v, c, true); }},
    {"min", [](Budget& b, const Value& v, const Call& c) { return extreme(b, v, c, false); }},
    {"reject", [](Budget& b, const Value& v, const Call& c) { return select_items(b, v, c, false, false); }},
    {"rejectattr", [](Budget& b, const Value& v, const Call& c) { return select_items(b, v, c, true, false); }},
    {"reverse", reverse},
    {"select", [](Budget& b, const Value& v, const Call& c) { return select_items(b, v, c, false, true); }},
    {"selectattr", [](Budget& b, const Value& v, const Call& c) { return select_items(b, v, c, true, true); }},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

Value apply_filter(Budget& budget, std::string_view name, const Value& input, const Call& call) {
  const Budget::Level level(budget);
  Filter filter = find_text_filter(name);
  for (const auto& [known, candidate] : kFilters) {
    if (known == name) filter = candidate;
  }
  if (filter == nullptr) throw Failure("No filter named '" + std::string(name) + "' found.");
  if (input.text() != nullptr) budget.charge_for(input);
  Value out = filter(budget, input, call);
  budget.charge_for(out);
  return out;
}

}  // namespace strata::jinja
