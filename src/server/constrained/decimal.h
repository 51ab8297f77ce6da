// Exact decimal numbers, as bounds of a schema need them.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/json.h"

namespace strata {

/// A decimal number without rounding: sign, digits before the point, digits after it.
struct Decimal {
  /// The number that JSON libraries print for `number` (of a double the shortest that reads back as it).
  static Decimal of(const Json& number);

  /// Digits without a leading zero (of 0 to 1: "0"), and without a trailing one (of a whole number: "").
  std::string integer = "0", fraction;
  bool negative = false;  // never of 0

  bool is_zero() const { return integer == "0" && fraction.empty(); }
  bool is_integer() const { return fraction.empty(); }
  Decimal operator-() const;
  friend bool operator==(const Decimal&, const Decimal&) = default;
  std::strong_ordering operator<=>(const Decimal& other) const;

  /// The largest whole number <= this, the smallest >= this.
  Decimal floor() const;
  Decimal ceil() const;
  /// Plus 1; of a whole number.
  Decimal next() const;
};

}  // namespace strata
