// The tests of Jinja: what may follow `is`.
#include <algorithm>
#include <utility>

#include "text/jinja_operators.h"
#include "text/jinja_runtime.h"

namespace strata::jinja {
namespace {

using Predicate = bool (*)(const Value&);

bool is_exactly(const Value& value, bool wanted) {
  const bool* flag = value.get<bool>();
  return flag != nullptr && *flag == wanted;
}

// len() and indexing: also true of undefined, which has both.
bool is_sequence(const Value& value) {
  if (const Sequence* sequence = value.sequence())
    return sequence->kind != Sequence::Kind::generator && sequence->kind != Sequence::Kind::view;
  return value.is_undefined() || value.text() != nullptr || value.dict() != nullptr;
}

bool is_parity(const Value& value, std::int64_t rest) {
  return equal(binary(BinaryOp::modulo, value, std::int64_t{2}), rest);
}

bool is_case(const Value& value, Text (*convert)(const Text&)) {
  const Text text = to_text(value);
  return upper(text).bytes() != lower(text).bytes() && convert(text).bytes() == text.bytes();
}

constexpr std::pair<std::string_view, Predicate> kPredicates[] = {
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"boolean", [](const Value& v) { return v.get<bool>() != nullptr; }},
    {"true", [](const Value& v) { return is_exactly(v, true); }},
    {"false", [](const Value& v) { return is_exactly(v, false); }},
    {"integer", [](const Value& v) { return v.get<std::int64_t>() != nullptr; }},
    {"float", [](const Value& v) { return v.get<double>() != nullptr; }},
    {"number", is_number},
    {"string", [](const Value& v) { return v.text() != nullptr; }},
    {"mapping", [](const Value& v) { return v.dict() != nullptr; }},
    {"sequence", is_sequence},
    {"iterable", is_iterable},
    {"callable", [](const Value& v) { return v.get<CallableRef>() != nullptr; }},
    {"escaped", [](const Value& v) { return v.is_markup(); }},
    {"odd", [](const Value& v) { return is_parity(v, 1); }},
    {"even", [](const Value& v) { return is_parity(v, 0); }},
    {"lower", [](const Value& v) { return is_case(v, lower); }},
    {"upper", [](const Value& v) { return is_case(v, upper); }},
};

constexpr std::pair<std::string_view, CompareOp> kComparisons[] = {
    {"==", CompareOp::equal},         {"eq", CompareOp::equal},
    {"equalto", CompareOp::equal},    {"!=", CompareOp::not_equal},
    {"ne", CompareOp::not_equal},     {">", CompareOp::greater},
    {"gt", CompareOp::greater},       {"greaterthan", CompareOp::greater},
    {">=", CompareOp::greater_equal}, {"ge", CompareOp::greater_equal},
    {"<", CompareOp::less},           {"lt", CompareOp::less},
    {"lessthan", CompareOp::less},    {"<=", CompareOp::less_equal},
    {"le", CompareOp::less_equal},    {"in", CompareOp::in},
};

bool is_same(const Value& a, const Value& b) {
  if (a.data().index() != b.data().index()) return false;
  if (const auto* sequence = a.get<SequenceRef>()) return *sequence == *b.get<SequenceRef>();
  if (const auto* dict = a.get<DictRef>()) return *dict == *b.get<DictRef>();
  return equal(a, b);
}

}  // namespace

bool apply_test(Budget& budget, std::string_view name, const Value& input, const Call& call) {
  budget.charge(1);
  for (const auto& [known, predicate] : kPredicates) {
    if (known != name) continue;
    Bound(name, call, {});
    return predicate(input);
  }
  for (const auto& [known, op] : kComparisons) {
    if (known == name) return compare_values(op, input, Bound(name, call, {"other"}).value(0));
  }
  if (name == "divisibleby")
    return equal(binary(BinaryOp::modulo, input, Bound(name, call, {"num"}).value(0)), std::int64_t{0});
  if (name == "sameas") return is_same(input, Bound(name, call, {"other"}).value(0));
  throw Failure("No test named '" + std::string(name) + "' found.");
}

}  // namespace strata::jinja
