// JSON numbers within bounds, a byte at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/constrained/decimal.h"

namespace strata {

/// The numbers that a schema allows.
struct NumberBounds {
  std::optional<Decimal> minimum, maximum;
  bool exclusive_minimum = false, exclusive_maximum = false;  // of those that are set
  bool integer = false;
};

/// A machine over the bytes of a number that accepts those within bounds and takes no byte from which none of them can
/// be reached. A number is written as [-]digits[.digits][exponent] with at most kMaxIntegerDigits before the point;
/// bounds are decimals, so digits are compared with theirs as they come, and how they compare is all of the state.
class NumberRange {
 public:
  static constexpr int kMaxIntegerDigits = 20;
  static constexpr int kMinFractionDigits = 20;  // that can be written; more if a bound has more
  static constexpr int kMaxBoundFractionDigits = 40;
  static constexpr int kMaxExponentDigits = 2;

  /// Opaque; 0 is the start.
  using State = std::uint64_t;

  /// Bounds of more digits than numbers have must not be stricter than that (callers refuse them).
  explicit NumberRange(const NumberBounds& bounds);

  /// No number is within the bounds.
  bool empty() const { return !positive_.possible && !negative_.possible; }
  std::optional<State> step(State state, std::uint8_t byte) const;
  bool can_end(State state) const;

 private:
  /// Bound of a magnitude. Its digits stand without the point.
  struct Bound {
    bool exists = false, exclusive = false;
    std::string digits;
    int integer_digits = 0;
    int significant = 0;  // digits up to the last that isn't 0
    bool rest_is_zero(int at) const { return at >= significant; }
  };
  /// The numbers of one sign, by magnitude.
  struct Side {
    bool possible = false;
    Bound low, high;
  };
  enum class Phase : std::uint8_t { start, minus, integer, point, fraction, e, exponent_sign, exponent };
  struct Digits {
    Phase phase = Phase::start;
    bool negative = false;
    bool zero = false;       // the integer part is 0
    int count = 0;           // digits of the part that is being written
    int integer_digits = 0;  // once the point has come
    int low = 0, high = 0;   // the digits compared with those of the bounds: -1, 0, 1
  };
  static Digits unpack(State state);
  static State pack(const Digits& digits);

  void set_side(Side& side, const NumberBounds& bounds);
  const Side& side(const Digits& digits) const { return digits.negative ? negative_ : positive_; }
  std::optional<State> add_digit(Digits digits, int digit) const;
  std::optional<State> add_point(Digits digits) const;
  bool completable(const Digits& digits) const;
  bool within(const Digits& digits) const;

  bool integer_, exponents_;
  int max_fraction_digits_;
  Side positive_, negative_;
};

}  // namespace strata
