// What the strict JSON reader builds, what it refuses, and that it says why and where.
#include "base/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace strata {
namespace {

std::string refusal(std::string_view text) {
  try {
    parse_json(text, "config.json");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::bad_model);
    return e.what();
  }
  return "accepted";
}

TEST(Json, KeepsTheOrderOfKeys) { EXPECT_EQ(parse_json(R"({"b":1,"a":[2]})", "x").dump(), R"({"b":1,"a":[2]})"); }

TEST(Json, BuildsWhatTheLibraryBuilds) {
  for (const char* text :
       {R"({"b": 1, "a": [-2, 3.5, "x\u00e9", null, true, {}], "c": {"b": {"b": []}}})", "[]", "17", "\"s\"", " {} \n"})
    EXPECT_EQ(parse_json(text, "t"), Json::parse(text)) << text;
}

TEST(Json, RefusesWhatIsNoStrictJsonAndSaysWhere) {
  struct Case {
    std::string text, part;
  };
  const std::vector<Case> cases = {
      {"", "line 1, column 1"},
      {"{", "line 1, column 2"},
      {"{\"a\":1}x", "line 1, column 8"},
      {"{} {}", "expected end of input"},
      {std::string("{\"a\":1}\n\0 junk", 14), "found a NUL byte at line 2, column 1"},
      {std::string("[1,\0]", 5), "found a NUL byte at line 1, column 4"},
      {"{\"a\": \"\xFF\"}", "UTF-8"},
      {"\"\xC3\"", "UTF-8"},
      {"{\"a\": 1,\n \"b\": 2, \"a\": 3}", "the JSON has the key \"a\" twice in one object, at line 2, column 12"},
      {R"({"a":[{"k":1,"k":2}]})", "the JSON has the key \"k\" twice"},
      {R"({"a": 1, "\u0061": 2})", "the key \"a\" twice"},
      {"NaN", "expected valid JSON"},
      {"[Infinity]", "expected valid JSON"},
      {"[1e999]", "overflow"},
      {"[\n1e999]", "at line 2, column 6"},
      {"// c\n{}", "expected valid JSON"},
      {std::string(100000, '['), "nested more than 64 levels deep, at line 1, column 65"},
      {"\"" + std::string(5000, 'x'), "..."},
  };
  for (const Case& c : cases) {
    const std::string message = refusal(c.text);
    EXPECT_EQ(message.find("config.json: "), 0u) << message;
    EXPECT_NE(message.find(c.part), std::string::npos) << message << "\n  expected: " << c.part;
    EXPECT_LT(message.size(), 400u);
  }
}

TEST(Json, EqualKeysOfDifferentObjectsAreFine) {
  EXPECT_EQ(parse_json(R"([{"a": 1}, {"a": {"a": 2}}])", "t")[1]["a"]["a"], 2);
}

TEST(Json, TakesTimeThatGrowsWithTheTextAlone) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += "\"backbone.layers.1.mixer.experts." + std::to_string(i) + "\":{},";
  text += "\"z\":1}";
  // Comparing every key with all before it would take minutes.
  EXPECT_EQ(parse_json(text, "t").size(), 200'001u);
}

}  // namespace
}  // namespace strata
