#include "server/constrained/number_range.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <tuple>
#include <vector>

namespace strata {
namespace {

struct Case {
  std::optional<double> minimum, maximum;
  bool exclusive_minimum, exclusive_maximum, integer;
};

NumberRange range_of(const Case& c) {
  NumberBounds bounds;
  if (c.minimum) bounds.minimum = Decimal::of(Json(*c.minimum));
  if (c.maximum) bounds.maximum = Decimal::of(Json(*c.maximum));
  bounds.exclusive_minimum = c.exclusive_minimum;
  bounds.exclusive_maximum = c.exclusive_maximum;
  bounds.integer = c.integer;
  return NumberRange(bounds);
}

std::optional<NumberRange::State> run(const NumberRange& range, const std::string& text) {
  std::optional<NumberRange::State> state = 0;
  for (const char byte : text) {
    state = range.step(*state, static_cast<std::uint8_t>(byte));
    if (!state) break;
  }
  return state;
}

bool accepts(const NumberRange& range, const std::string& text) {
  const auto state = run(range, text);
  return state && range.can_end(*state);
}

/// The bounds and the text as the standard library reads them; doubles are exact enough for texts of few digits.
bool is_within(const Case& c, const std::string& text) {
  static const std::regex kInteger("-?(0|[1-9][0-9]*)"), kNumber("-?(0|[1-9][0-9]*)(\\.[0-9]+)?");
  if (!std::regex_match(text, c.integer ? kInteger : kNumber)) return false;
  const double value = std::stod(text);
  if (c.minimum && (c.exclusive_minimum ? value <= *c.minimum : value < *c.minimum)) return false;
  return !c.maximum || (c.exclusive_maximum ? value < *c.maximum : value <= *c.maximum);
}

/// Takes the smallest or largest byte there is until the number can end.
bool ends(const NumberRange& range, NumberRange::State state) {
  for (int length = 0; length < 100; ++length) {
    if (range.can_end(state)) return true;
    std::optional<NumberRange::State> next;
    for (const char byte : std::string("0123456789.-")) {
      next = range.step(state, static_cast<std::uint8_t>(byte));
      if (next) break;
    }
    if (!next) return false;
    state = *next;
  }
  return false;
}

const std::vector<Case> kCases = {
    {0.5, 17, false, false, false},   {0.5, 17, true, true, false},      {0.5, 17, false, false, true},
    {-3, 5, false, false, true},      {-3, 5, true, true, true},         {-2.5, -1.25, false, false, false},
    {-2.5, -1.25, true, true, false}, {-120, -7, false, false, true},    {0, 0, false, false, false},
    {0, {}, true, false, false},      {{}, 0, false, true, false},       {{}, 0, false, true, true},
    {0, {}, false, false, true},      {9, 10, true, true, false},        {9, 11, true, true, true},
    {99, 101, false, false, true},    {0.999, 1, true, false, false},    {0.999, 1, true, true, false},
    {-0.01, 0.01, true, true, false}, {1.5, 1.5, false, false, false},   {17, 17, false, false, true},
    {{}, {}, false, false, true},     {{}, -98, false, false, true},     {95, {}, true, false, false},
    {10, 99, false, false, false},    {1, 1000, false, true, false},     {-1000, 1000, true, true, true},
    {0.25, 0.75, false, false, true}, {3, 2, false, false, false},       {2, 2, true, false, false},
    {2, 3, true, true, true},         {-1e-3, 1e-3, false, false, false}};

// Every text of up to five of these characters, for every case, and from every beginning that is taken an end is
// reached.
TEST(NumberRange, TakesWhatIsWithinBoundsAndNoBeginningOfNothing) {
  const std::string alphabet = "0129.-";
  for (std::size_t index = 0; index < kCases.size(); ++index) {
    const Case& c = kCases[index];
    const NumberRange range = range_of(c);
    bool some = false;
    std::vector<std::string> texts = {""};
    for (std::size_t at = 0; at < texts.size(); ++at) {
      const std::string text = texts[at];
      const auto state = run(range, text);
      // An exponent may follow where there are no bounds, but those texts have none.
      EXPECT_EQ(accepts(range, text), is_within(c, text)) << "case " << index << ": " << text;
      some |= accepts(range, text);
      if (state && !range.empty()) {
        EXPECT_TRUE(ends(range, *state)) << "case " << index << ": " << text;
      }
      if (text.size() < 5)
        for (const char byte : alphabet) texts.push_back(text + byte);
    }
    EXPECT_FALSE(range.empty() && some) << "case " << index;
  }
}

TEST(NumberRange, NothingBetweenBoundsIsEmpty) {
  for (const Case& c : std::vector<Case>{{0.25, 0.75, false, false, true},
                                         {3, 2, false, false, false},
                                         {2, 2, true, false, false},
                                         {2, 3, true, true, true}})
    EXPECT_TRUE(range_of(c).empty());
  EXPECT_FALSE(range_of({2, 2, false, false, true}).empty());
}

TEST(NumberRange, DigitsAreBounded) {
  const NumberRange number = range_of({{}, {}, false, false, false});
  EXPECT_TRUE(accepts(number, std::string(20, '9') + "." + std::string(20, '9') + "e-99"));
  EXPECT_FALSE(run(number, std::string(21, '9')));
  EXPECT_FALSE(run(number, "0." + std::string(21, '9')));
  EXPECT_FALSE(run(number, "1e100"));
  EXPECT_FALSE(run(range_of({{}, {}, false, false, true}), "1e"));
  EXPECT_FALSE(run(range_of({0, {}, false, false, false}), "1e")) << "exponents hide what is within bounds";
}

TEST(NumberRange, BoundsAreExactWhereDoublesAreNot) {
  NumberBounds bounds;
  bounds.integer = true;
  bounds.minimum = Decimal::of(Json(9007199254740993));
  bounds.maximum = Decimal::of(Json(std::uint64_t{18446744073709551615u}));
  const NumberRange range(bounds);
  EXPECT_TRUE(accepts(range, "9007199254740993"));
  EXPECT_FALSE(accepts(range, "9007199254740992"));
  EXPECT_TRUE(accepts(range, "18446744073709551615"));
  EXPECT_FALSE(accepts(range, "18446744073709551616"));
}

TEST(Decimal, IsWhatIsPrinted) {
  const auto text = [](const Json& number) {
    const Decimal d = Decimal::of(number);
    return std::string(d.negative ? "-" : "") + d.integer + "." + d.fraction;
  };
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(-0.0), "0.");
  EXPECT_EQ(text(1e3), "1000.");
  EXPECT_EQ(text(-1.25e-7), "-0.000000125");
  EXPECT_EQ(text(123456.75), "123456.75");
  EXPECT_EQ(text(1e21), "1000000000000000000000.");
  EXPECT_EQ(text(std::int64_t{INT64_MIN}), "-9223372036854775808.");
}

TEST(Decimal, RoundsAndOrdersWithSigns) {
  const auto d = [](double value) { return Decimal::of(Json(value)); };
  for (const auto& [value, floor, ceil] : std::vector<std::tuple<double, double, double>>{
           {0.5, 0, 1}, {-0.5, -1, 0}, {-2.5, -3, -2}, {9.5, 9, 10}, {7, 7, 7}}) {
    EXPECT_EQ(d(value).floor(), d(floor)) << value;
    EXPECT_EQ(d(value).ceil(), d(ceil)) << value;
  }
  EXPECT_EQ(d(-1).next(), d(0));
  EXPECT_EQ(d(-10).next(), d(-9));
  EXPECT_EQ(d(99).next(), d(100));
  const std::vector<double> ascending = {-12, -11.5, -2, -1.5, -1.25, 0, 0.05, 0.5, 1, 1.05, 2, 11};
  for (std::size_t i = 0; i + 1 < ascending.size(); ++i) EXPECT_LT(d(ascending[i]), d(ascending[i + 1]));
}

}  // namespace
}  // namespace strata
