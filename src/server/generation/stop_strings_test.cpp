#include "server/generation/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

namespace strata {
namespace {

struct Result {
  std::string text, matched;
  friend bool operator==(const Result&, const Result&) = default;
};

Result run(const std::vector<std::string>& pieces, const std::vector<std::string>& stops, bool include = false) {
  StopStrings filter(stops, include);
  Result result;
  for (const std::string& piece : pieces) result.text += filter.push(piece);
  result.text += filter.finish();
  result.matched = filter.matched();
  return result;
}

TEST(StopStringsTest, StopStringsNeverLeak) {
  EXPECT_EQ(run({"one END two"}, {"END"}), (Result{"one ", "END"}));
  EXPECT_EQ(run({"one E", "N", "D two"}, {"END"}), (Result{"one ", "END"}));
  EXPECT_EQ(run({"aab"}, {"ab"}), (Result{"a", "ab"}));
  EXPECT_EQ(run({"one EN"}, {"END"}), (Result{"one EN", ""})) << "what was held back comes at the end";
}

TEST(StopStringsTest, NoMoreIsHeldBackThanMayBeAStopString) {
  StopStrings filter({"END", "E.O.F"});
  EXPECT_EQ(filter.push("abc"), "abc");
  EXPECT_EQ(filter.push("abcEN"), "abc");
  EXPECT_EQ(filter.push("."), "EN.");
  EXPECT_EQ(filter.push("E.O."), "");
  EXPECT_EQ(filter.push("E"), "E.O.");
}

TEST(StopStringsTest, StopStringCanBelongToTheText) {
  EXPECT_EQ(run({"one EN", "D two"}, {"END"}, true), (Result{"one END", "END"}));
}

TEST(StopStringsTest, UnarmedStopsArePassedOver) {
  StopStrings filter({"END"});
  EXPECT_EQ(filter.push("one END ", false), "one END ");
  EXPECT_FALSE(filter.stopped());
  EXPECT_EQ(filter.push("two END"), "two ");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopStringsTest, CuttingTheTextElsewhereChangesNothing) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const auto letters = [&](int least, int most) {
      std::string out;
      const int size = least + static_cast<int>(random() % static_cast<unsigned>(most - least + 1));
      for (int i = 0; i < size; ++i) out += static_cast<char>('a' + random() % 2);
      return out;
    };
    std::vector<std::string> stops;
    for (int i = 0; i < 3; ++i) stops.push_back(letters(2, 6));
    const std::string text = letters(0, 30);
    std::vector<std::string> bytes, pieces(1);
    for (const char c : text) {
      bytes.emplace_back(1, c);
      if (random() % 3 == 0) pieces.emplace_back();
      pieces.back() += c;
    }
    const bool include = random() % 2 == 0;
    const Result whole = run({text}, stops, include);
    EXPECT_EQ(run(bytes, stops, include), whole) << text;
    EXPECT_EQ(run(pieces, stops, include), whole) << text;
    if (include || whole.matched.empty()) continue;
    for (const std::string& stop : stops) EXPECT_EQ(whole.text.find(stop), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace strata
