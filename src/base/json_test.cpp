// What the strict JSON reader refuses, and that it says why.
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

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_NE(refusal(R"({"a":[{"k":1,"k":2}]})").find("config.json: the JSON has the key \"k\" twice"),
            std::string::npos);
}

TEST(Json, RefusesWhatIsNestedTooDeep) {
  EXPECT_NE(refusal(std::string(100000, '[')).find("more than 64 levels"), std::string::npos);
}

TEST(Json, RefusesBrokenTextAndInvalidUtf8) {
  for (std::string_view text : {"", "{", "{\"a\":1}x", "\"\xff\"", "NaN"})
    EXPECT_NE(refusal(text).find("config.json: expected valid JSON"), std::string::npos) << text;
}

}  // namespace
}  // namespace strata
