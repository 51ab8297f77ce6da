#include "server/constrained/number_range.h"

#include <algorithm>
#include <cstddef>

namespace strata {
namespace {

int sign_of(int value) { return (value > 0) - (value < 0); }

}  // namespace

NumberRange::NumberRange(const NumberBounds& bounds)
    : integer_(bounds.integer), exponents_(!bounds.integer && !bounds.minimum && !bounds.maximum) {
  int fraction_digits = kMinFractionDigits;
  for (const auto& bound : {bounds.minimum, bounds.maximum}) {
    // One more than the bounds have: then what lies strictly beyond a bound's digits can be written.
    if (bound) fraction_digits = std::max(fraction_digits, static_cast<int>(bound->fraction.size()) + 1);
  }
  max_fraction_digits_ = integer_ ? 0 : fraction_digits;
  set_side(positive_, bounds);
  NumberBounds mirrored = bounds;
  mirrored.minimum = bounds.maximum ? std::optional(-*bounds.maximum) : std::nullopt;
  mirrored.maximum = bounds.minimum ? std::optional(-*bounds.minimum) : std::nullopt;
  mirrored.exclusive_minimum = bounds.exclusive_maximum;
  mirrored.exclusive_maximum = bounds.exclusive_minimum;
  set_side(negative_, mirrored);
}

// The numbers >= 0 within the bounds; for negative ones the bounds come mirrored (so that -0 is one of both).
void NumberRange::set_side(Side& side, const NumberBounds& bounds) {
  Decimal low;
  bool low_exclusive = false;
  if (bounds.minimum && (*bounds.minimum > low || (*bounds.minimum == low && bounds.exclusive_minimum))) {
    low = *bounds.minimum;
    low_exclusive = bounds.exclusive_minimum;
  }
  std::optional<Decimal> high = bounds.maximum;
  bool high_exclusive = high && bounds.exclusive_maximum;
  if (integer_) {
    if (!low.is_integer() || low_exclusive) low = low.is_integer() ? low.next() : low.ceil();
    if (high && high_exclusive && high->is_integer()) high = -(-*high).next();
    if (high) high = high->floor();
    low_exclusive = high_exclusive = false;
  }
  if (high && (*high < low || (*high == low && (low_exclusive || high_exclusive)))) return;
  if (low.integer.size() > static_cast<std::size_t>(kMaxIntegerDigits)) return;
  side.possible = true;
  const auto set = [](Bound& bound, const Decimal& value, bool exclusive) {
    bound.exists = true;
    bound.exclusive = exclusive;
    bound.digits = value.integer + value.fraction;
    bound.integer_digits = static_cast<int>(value.integer.size());
    bound.significant = static_cast<int>(bound.digits.find_last_not_of('0') + 1);
  };
  if (!low.is_zero() || low_exclusive) set(side.low, low, low_exclusive);
  if (high && high->integer.size() <= static_cast<std::size_t>(kMaxIntegerDigits))
    set(side.high, *high, high_exclusive);
}

NumberRange::Digits NumberRange::unpack(State state) {
  Digits digits;
  digits.phase = static_cast<Phase>(state & 15);
  digits.negative = (state >> 4 & 1) != 0;
  digits.zero = (state >> 5 & 1) != 0;
  digits.low = static_cast<int>(state >> 6 & 3) - 1;
  digits.high = static_cast<int>(state >> 8 & 3) - 1;
  digits.count = static_cast<int>(state >> 10 & 255);
  digits.integer_digits = static_cast<int>(state >> 18 & 255);
  if (digits.phase == Phase::start) digits.low = digits.high = 0;
  return digits;
}

NumberRange::State NumberRange::pack(const Digits& digits) {
  return static_cast<State>(digits.phase) | State{digits.negative} << 4 | State{digits.zero} << 5 |
         static_cast<State>(digits.low + 1) << 6 | static_cast<State>(digits.high + 1) << 8 |
         static_cast<State>(digits.count) << 10 | static_cast<State>(digits.integer_digits) << 18;
}

std::optional<NumberRange::State> NumberRange::step(State state, std::uint8_t byte) const {
  Digits digits = unpack(state);
  const bool is_digit = byte >= '0' && byte <= '9';
  switch (digits.phase) {
    case Phase::start:
      if (byte == '-') {
        if (!negative_.possible) return {};
        digits.phase = Phase::minus;
        digits.negative = true;
        return pack(digits);
      }
      if (!positive_.possible) return {};
      [[fallthrough]];
    case Phase::minus:
    case Phase::integer:
    case Phase::point:
    case Phase::fraction:
      if (is_digit) return add_digit(digits, byte - '0');
      if (byte == '.' && digits.phase == Phase::integer) return add_point(digits);
      if ((byte == 'e' || byte == 'E') && exponents_ &&
          (digits.phase == Phase::integer || digits.phase == Phase::fraction)) {
        return pack({.phase = Phase::e});
      }
      return {};
    case Phase::e:
      if (byte == '+' || byte == '-') return pack({.phase = Phase::exponent_sign});
      [[fallthrough]];
    case Phase::exponent_sign:
    case Phase::exponent:
      if (!is_digit || digits.count == kMaxExponentDigits) return {};
      digits.phase = Phase::exponent;
      ++digits.count;
      return pack(digits);
  }
  return {};
}

std::optional<NumberRange::State> NumberRange::add_digit(Digits digits, int digit) const {
  if (digits.zero && digits.phase == Phase::integer) return {};
  int at = 0;  // the digit's place among those of the number
  if (digits.phase == Phase::point || digits.phase == Phase::fraction) {
    if (digits.count == max_fraction_digits_) return {};
    digits.phase = Phase::fraction;
    at = digits.integer_digits + digits.count;
  } else {
    if (digits.count == kMaxIntegerDigits) return {};
    digits.zero = digits.count == 0 && digit == 0;
    digits.phase = Phase::integer;
    at = digits.count;
  }
  ++digits.count;
  const auto compare = [&](const Bound& bound, int so_far) {
    if (!bound.exists || so_far != 0) return so_far;
    const bool beyond = at >= static_cast<int>(bound.digits.size());
    return sign_of(digit - (beyond ? 0 : bound.digits[static_cast<std::size_t>(at)] - '0'));
  };
  digits.low = compare(side(digits).low, digits.low);
  digits.high = compare(side(digits).high, digits.high);
  if (!completable(digits)) return {};
  return pack(digits);
}

namespace {

/// How numbers of `count` digits before the point compare with a bound of `bound_count`, whose common digits compare
/// as `digits` does.
int compare_lengths(int count, int bound_count, int digits) {
  return count != bound_count ? sign_of(count - bound_count) : digits;
}

}  // namespace

std::optional<NumberRange::State> NumberRange::add_point(Digits digits) const {
  if (max_fraction_digits_ == 0) return {};
  const Side& bounds = side(digits);
  digits.low = compare_lengths(digits.count, bounds.low.integer_digits, digits.low);
  digits.high = compare_lengths(digits.count, bounds.high.integer_digits, digits.high);
  digits.integer_digits = digits.count;
  digits.count = 0;
  digits.phase = Phase::point;
  if (!completable(digits)) return {};
  return pack(digits);
}

// Whether a number that begins with these digits lies within the bounds. The numbers of one length that begin so are
// an interval; it ends below the lower bound, above the upper one, or reaches into them. A common prefix with both
// bounds is enough, for the bounds aren't empty; with the lower one alone too, for 99...9 with one digit more than the
// bound has is above it; with the upper one alone if 00...0 is not that bound itself, excluded.
bool NumberRange::completable(const Digits& digits) const {
  const Side& bounds = side(digits);
  const auto reaches = [&](int low, int high, int at) {
    if (!bounds.low.exists) low = 1;
    if (!bounds.high.exists) high = -1;
    if (low < 0 || high > 0) return false;
    return low == 0 || high < 0 || !bounds.high.exclusive || !bounds.high.rest_is_zero(at);
  };
  if (digits.phase != Phase::integer) {
    if (digits.count == max_fraction_digits_) return within(digits);
    return reaches(digits.low, digits.high, digits.integer_digits + digits.count);
  }
  const int longest = digits.zero ? digits.count : kMaxIntegerDigits;
  for (int length = digits.count; length <= longest; ++length) {
    const int low = compare_lengths(length, bounds.low.integer_digits, digits.low);
    const int high = compare_lengths(length, bounds.high.integer_digits, digits.high);
    if (reaches(low, high, digits.count)) return true;
  }
  return false;
}

bool NumberRange::within(const Digits& digits) const {
  const Side& bounds = side(digits);
  int low = digits.low, high = digits.high, at = digits.integer_digits + digits.count;
  if (digits.phase == Phase::integer) {
    low = compare_lengths(digits.count, bounds.low.integer_digits, low);
    high = compare_lengths(digits.count, bounds.high.integer_digits, high);
    at = digits.count;
  }
  const bool above =
      !bounds.low.exists || low > 0 || (low == 0 && bounds.low.rest_is_zero(at) && !bounds.low.exclusive);
  const bool below =
      !bounds.high.exists || high < 0 || (high == 0 && (!bounds.high.rest_is_zero(at) || !bounds.high.exclusive));
  return above && below;
}

bool NumberRange::can_end(State state) const {
  const Digits digits = unpack(state);
  if (digits.phase == Phase::exponent) return true;
  return (digits.phase == Phase::integer || digits.phase == Phase::fraction) && within(digits);
}

}  // namespace strata
