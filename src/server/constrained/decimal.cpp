#include "server/constrained/decimal.h"

#include <charconv>
#include <cstddef>

namespace strata {
namespace {

std::strong_ordering compare_magnitudes(const Decimal& a, const Decimal& b) {
  if (a.integer.size() != b.integer.size()) return a.integer.size() <=> b.integer.size();
  if (const int order = a.integer.compare(b.integer); order != 0) return order <=> 0;
  return a.fraction.compare(b.fraction) <=> 0;  // no trailing zeros: a prefix is smaller
}

/// One more, of digits without a point.
void increment(std::string& digits) {
  std::size_t at = digits.size();
  while (at > 0 && digits[at - 1] == '9') digits[--at] = '0';
  if (at > 0) {
    ++digits[at - 1];
  } else {
    digits.insert(digits.begin(), '1');
  }
}

/// One less, of digits without a point that aren't all 0.
void decrement(std::string& digits) {
  std::size_t at = digits.size() - 1;
  while (digits[at] == '0') digits[at--] = '9';
  --digits[at];
  if (digits.size() > 1 && digits[0] == '0') digits.erase(0, 1);
}

/// Of digits with the point after the first `integer_digits` of them.
Decimal from_digits(std::string digits, std::ptrdiff_t integer_digits, bool negative) {
  if (integer_digits <= 0) {
    digits.insert(0, static_cast<std::size_t>(1 - integer_digits), '0');
    integer_digits = 1;
  }
  const auto point = static_cast<std::size_t>(integer_digits);
  if (digits.size() < point) digits.append(point - digits.size(), '0');
  Decimal result;
  result.integer = digits.substr(0, point);
  result.integer.erase(0, std::min(result.integer.find_first_not_of('0'), point - 1));
  result.fraction = digits.substr(point);
  result.fraction.erase(result.fraction.find_last_not_of('0') + 1);
  result.negative = negative && !result.is_zero();
  return result;
}

}  // namespace

Decimal Decimal::of(const Json& number) {
  char text[40];
  char* end = text;
  if (number.is_number_unsigned()) {
    end = std::to_chars(text, text + sizeof text, number.get<std::uint64_t>()).ptr;
  } else if (number.is_number_integer()) {
    end = std::to_chars(text, text + sizeof text, number.get<std::int64_t>()).ptr;
  } else {
    end = std::to_chars(text, text + sizeof text, number.get<double>(), std::chars_format::scientific).ptr;
  }
  const bool minus = text[0] == '-';
  std::string digits(text + minus, end);
  std::ptrdiff_t exponent = 0;
  if (const std::size_t e = digits.find('e'); e != std::string::npos) {
    const char* begin = digits.data() + e + 1 + (digits[e + 1] == '+');
    std::from_chars(begin, digits.data() + digits.size(), exponent);
    digits.resize(e);
  }
  std::size_t point = digits.find('.');
  if (point == std::string::npos) {
    point = digits.size();
  } else {
    digits.erase(point, 1);
  }
  return from_digits(std::move(digits), static_cast<std::ptrdiff_t>(point) + exponent, minus);
}

Decimal Decimal::operator-() const {
  Decimal result = *this;
  result.negative = !negative && !is_zero();
  return result;
}

std::strong_ordering Decimal::operator<=>(const Decimal& other) const {
  if (negative != other.negative) return negative ? std::strong_ordering::less : std::strong_ordering::greater;
  return negative ? compare_magnitudes(other, *this) : compare_magnitudes(*this, other);
}

Decimal Decimal::floor() const {
  if (is_integer()) return *this;
  Decimal result;
  result.integer = integer;
  if (negative) increment(result.integer);
  result.negative = negative;
  return result;
}

Decimal Decimal::ceil() const { return -(-*this).floor(); }

Decimal Decimal::next() const {
  Decimal result = *this;
  if (negative) {
    decrement(result.integer);
  } else {
    increment(result.integer);
  }
  result.negative = negative && result.integer != "0";
  return result;
}

}  // namespace strata
