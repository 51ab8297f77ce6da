// Filters of one value.
#include "text/jinja_text_filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

#include "text/jinja_operators.h"

namespace strata::jinja {
namespace {

Value convert_case(const Value& input, Text (*convert)(const Text&)) {
  return Value(convert(to_text(input)), input.is_markup());
}

// Jinja's title: words begin after white space and -({[<, unlike in str.title.
Text title(const Text& text) {
  const auto separates = [](char32_t code) {
    return is_space(code) ||
           (code < 0x80 && std::string_view("-({[<").find(static_cast<char>(code)) != std::string_view::npos);
  };
  Text out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    const bool separator = separates(character_at(text.bytes(), i).code);
    while (end < text.size() && separates(character_at(text.bytes(), end).code) == separator)
      end += character_at(text.bytes(), end).bytes;
    const Text part = text.slice(i, end);
    out.append(separator ? part : capitalize(part));
    i = end;
  }
  return out;
}

Value trim(Budget&, const Value& input, const Call& call) {
  const Bound bound("trim", call, {"chars"});
  return Value(strip(to_text(input), bound.bytes_or_null(0), Side::both), input.is_markup());
}

Value replace_text(Budget&, const Value& input, const Call& call) {
  const Bound bound("replace", call, {"old", "new", "count"});
  const bool limited = bound.has(2) && !bound.value(2).is_none();
  return replace(to_text(input), to_text(bound.value(0)).bytes(), to_text(bound.value(1)),
                 limited ? bound.integer(2, -1) : -1);
}

Value indent(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("indent", call, {"width", "first", "blank"});
  const Value width = bound.value_or(0, std::int64_t{4});
  const Value space = width.text() != nullptr ? width : binary(BinaryOp::multiply, Text::of_template(" "), width);
  if (input.text() == nullptr) throw Failure("indent needs a string, not " + type_name(input));
  Text text = *input.text();
  text.append("\n", false);
  std::vector<Text> lines = split_lines(text, false);
  budget.charge(static_cast<std::int64_t>(lines.size()));
  Text out;
  if (bound.flag(1, false)) out.append(*space.text());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out.append("\n", false);
      if (bound.flag(2, false) || !lines[i].empty()) out.append(*space.text());
    }
    out.append(lines[i]);
  }
  return Value(std::move(out), input.is_markup());
}

std::string without_space(const Text& text) { return strip(text, nullptr, Side::both).bytes(); }

// Digits with single underscores between them, as Python reads numbers.
std::optional<std::string> without_underscores(const std::string& digits) {
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const auto is_word = [&](std::size_t at) {
      return at < digits.size() && std::isalnum(static_cast<unsigned char>(digits[at]));
    };
    if (digits[i] != '_') {
      out += digits[i];
    } else if (i == 0 || !is_word(i - 1) || !is_word(i + 1)) {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<std::int64_t> parse_integer(const Text& text, std::int64_t base) {
  std::string digits = without_space(text);
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.erase(0, 1);
  const char mark = digits.size() > 2 && digits[0] == '0' ? static_cast<char>(digits[1] | 32) : ' ';
  const int prefix = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (prefix != 0 && (base == prefix || base == 0)) {
    digits.erase(0, digits[2] == '_' ? 3 : 2);
    base = prefix;
  }
  if (base == 0) base = 10;
  const std::optional<std::string> plain = without_underscores(digits);
  if (!plain || plain->empty() || base < 2 || base > 36) return std::nullopt;
  std::int64_t value = 0;
  const std::string signed_digits = (negative ? "-" : "") + *plain;
  if (signed_digits.find_first_of("+-", 1) != std::string::npos || (*plain)[0] == '-') return std::nullopt;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto result = std::from_chars(signed_digits.data(), end, value, static_cast<int>(base));
  if (result.ptr != end) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) throw Failure("the integer " + digits + " does not fit 64 bits");
  return value;
}

std::optional<double> parse_real(const Text& text) {
  const std::optional<std::string> plain = without_underscores(without_space(text));
  if (!plain || plain->empty()) return std::nullopt;
  std::string name;
  for (const char c : *plain) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const bool signed_name = name[0] == '-' || name[0] == '+';
  const std::string bare = name.substr(signed_name ? 1 : 0);
  const double sign = name[0] == '-' ? -1 : 1;
  if (bare == "inf" || bare == "infinity") return sign * std::numeric_limits<double>::infinity();
  if (bare == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (bare.empty() || bare.find_first_not_of("0123456789.e+-") != std::string::npos || bare[0] == '-' || bare[0] == '+')
    return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(bare.c_str(), &end);
  if (*end != '\0') return std::nullopt;
  return sign * value;
}

std::optional<std::int64_t> truncate(double value) {
  if (std::isnan(value)) return std::nullopt;
  if (std::isinf(value)) throw Failure("cannot convert float infinity to integer");
  if (!(std::abs(value) < 9.2e18)) throw Failure("an integer does not fit 64 bits");
  return static_cast<std::int64_t>(value);
}

Value to_integer(Budget&, const Value& input, const Call& call) {
  const Bound bound("int", call, {"default", "base"});
  require_defined(input);
  std::optional<std::int64_t> value;
  if (const std::int64_t* integer = input.integer()) {
    value = *integer;
  } else if (const double* number = input.get<double>()) {
    value = truncate(*number);
  } else if (const Text* text = input.text()) {
    value = parse_integer(*text, bound.integer(1, 10));
    if (const std::optional<double> real = value ? std::nullopt : parse_real(*text)) value = truncate(*real);
  }
  return value ? Value(*value) : bound.value_or(0, std::int64_t{0});
}

Value to_real(Budget&, const Value& input, const Call& call) {
  const Bound bound("float", call, {"default"});
  require_defined(input);
  if (is_number(input)) return as_double(input);
  const std::optional<double> value = input.text() != nullptr ? parse_real(*input.text()) : std::nullopt;
  return value ? Value(*value) : bound.value_or(0, 0.0);
}

Value absolute(Budget&, const Value& input, const Call& call) {
  Bound("abs", call, {});
  require_defined(input);
  if (const double* number = input.get<double>()) return std::abs(*number);
  if (input.integer() == nullptr) throw Failure("bad operand type for abs(): '" + type_name(input) + "'");
  return signed_value(input, *input.integer() < 0);
}

// Python's round of a float goes by its exact decimal value, ties to even; so does printf.
Value round_number(Budget&, const Value& input, const Call& call) {
  const Bound bound("round", call, {"precision", "method"});
  const std::string method = bound.has(1) ? bound.text(1).bytes() : "common";
  const std::int64_t precision = bound.integer(0, 0);
  if (method != "common" && method != "ceil" && method != "floor")
    throw Failure("method must be common, ceil or floor");
  require_defined(input);
  if (!is_number(input)) throw Failure("type " + type_name(input) + " doesn't define __round__ method");
  if (precision < 0 || precision > 300) throw Failure("round supports a precision from 0 to 300");
  if (method == "common") {
    if (const std::int64_t* integer = input.integer()) return *integer;
    char buffer[700];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), as_double(input));
    return std::strtod(buffer, nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = as_double(input) * scale;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

// transformers' tojson. All of it counts as the request's if any string in it does.
Value to_json_filter(Budget& budget, const Value& input, const Call& call) {
  const Bound bound("tojson", call, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (bound.has(1) && !bound.value(1).is_none()) {
    style.item_separator = ",";
    if (const Text* text = bound.value(1).text()) {
      style.indent = text->bytes();
    } else {
      const std::int64_t width = bound.integer(1, 0);
      if (width > 1000) throw Failure("tojson supports an indent of at most 1000");
      style.indent = std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
    }
  }
  if (bound.has(2) && !bound.value(2).is_none()) {
    const std::vector<Value> separators = iterate(budget, bound.value(2));
    if (separators.size() != 2 || !separators[0].text() || !separators[1].text())
      throw Failure("separators must be two strings");
    style.item_separator = separators[0].text()->bytes();
    style.key_separator = separators[1].text()->bytes();
  }
  const bool scalar = input.is_none() || is_number(input) || (input.text() && !input.text()->has_input());
  return Text(to_json(input, style), !scalar);
}

Value format_text(Budget&, const Value& input, const Call& call) {
  if (!call.args.empty() && !call.named.empty())
    throw Failure("can't handle positional and keyword arguments at the same time");
  if (call.named.empty()) return format_percent(to_text(input), make_tuple(call.args));
  auto dict = std::make_shared<Dict>();
  for (const auto& [name, value] : call.named) dict->set(Text::of_template(name), value);
  return format_percent(to_text(input), DictRef(std::move(dict)));
}

std::int64_t count_words(const Text& text) { return static_cast<std::int64_t>(split(text, nullptr, -1, false).size()); }

constexpr std::pair<std::string_view, Filter> kFilters[] = {
    {"abs", absolute},
    {"capitalize", [](Budget&, const Value& v, const Call&) { return convert_case(v, capitalize); }},
    {"e",
     [](Budget&, const Value& v, const Call&) { return v.is_markup() ? v : Value(escape_html(to_text(v)), true); }},
    {"escape",
     [](Budget&, const Value& v, const Call&) { return v.is_markup() ? v : Value(escape_html(to_text(v)), true); }},
    {"float", to_real},
    {"forceescape", [](Budget&, const Value& v, const Call&) { return Value(escape_html(to_text(v)), true); }},
    {"format", format_text},
    {"indent", indent},
    {"int", to_integer},
    {"lower", [](Budget&, const Value& v, const Call&) { return convert_case(v, lower); }},
    {"replace", replace_text},
    {"round", round_number},
    {"safe", [](Budget&, const Value& v, const Call&) { return Value(to_text(v), true); }},
    {"string", [](Budget&, const Value& v, const Call&) { return Value(to_text(v), v.is_markup()); }},
    {"title", [](Budget&, const Value& v, const Call&) { return convert_case(v, title); }},
    {"tojson", to_json_filter},
    {"trim", trim},
    {"upper", [](Budget&, const Value& v, const Call&) { return convert_case(v, upper); }},
    {"wordcount", [](Budget&, const Value& v, const Call&) { return Value(count_words(to_text(v))); }},
};

}  // namespace

Filter find_text_filter(std::string_view name) {
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace strata::jinja
