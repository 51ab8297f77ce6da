#include "server/constrained/tool_grammar.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "server/constrained/grammar_test_support.h"

namespace strata {
namespace {

std::string parameter(const std::string& key, const std::string& value) {
  return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
}

std::string call(const std::string& name, const std::string& parameters) {
  return "\n<function=" + name + ">\n" + parameters + "</function>\n";
}

Json tool(const std::string& name, std::string_view parameters) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", parse_json(parameters, "parameters")}}}};
}

std::shared_ptr<const Grammar> one(std::string_view parameters) {
  return shared(compile_tool_calls(Json::array({tool("f", parameters)}), std::nullopt));
}

TEST(ToolGrammar, RequiredKeysComeFirstAndOptionalOnesMayBeSkipped) {
  const auto grammar = one(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},
                               "c":{"type":"boolean"}},"required":["b"]})");
  const std::string a = parameter("a", "3"), b = parameter("b", "x"), c = parameter("c", "true");
  for (const std::string& valid : {b, b + a, b + c, b + a + c})
    EXPECT_TRUE(accepts(grammar, call("f", valid))) << valid;
  for (const std::string& invalid : {std::string(), a, a + b, b + b, b + c + a, b + a + a, b + parameter("d", "1"),
                                     b + parameter("a", "x"), b + parameter("c", "1"), b + parameter("c", "\"true\"")})
    EXPECT_FALSE(accepts(grammar, call("f", invalid))) << invalid;
}

TEST(ToolGrammar, StringsAreAnyTextWithoutTheEndOfAValue) {
  const auto grammar = one(R"({"properties":{"s":{"type":"string"}},"required":["s"]})");
  for (const std::string valid :
       {"", "x", " two\n\n  lines\t\r\n", "</parameter>", "a</parameter>\n", "\n", "\n</param", "\n\n\n", "é😀\"\\",
        "<function=x>", "null", "\n</parameter", "\n\n</parameterx>"})
    EXPECT_TRUE(accepts(grammar, call("f", parameter("s", valid)))) << valid;
  for (const std::string invalid : {"a\n</parameter>b", "\n</parameter>", "\xC3", "\xFFx", "a\x01", "\n\xE2\x82"})
    EXPECT_FALSE(accepts(grammar, call("f", parameter("s", invalid)))) << invalid;
}

TEST(ToolGrammar, LengthsOfStringsHold) {
  const auto grammar = one(R"({"properties":{"s":{"type":"string","minLength":2,"maxLength":15}},"required":["s"]})");
  for (const std::string valid : {"ab", "é€", "\n\n", "\n</parameter", "abc\n</paramete", "123456789012345"})
    EXPECT_TRUE(accepts(grammar, call("f", parameter("s", valid)))) << valid;
  for (const std::string invalid : {"", "a", "\n", "€", "1234567890123456", "abcd\n</parameter"})
    EXPECT_FALSE(accepts(grammar, call("f", parameter("s", invalid)))) << invalid;
  const auto exact = one(R"({"properties":{"s":{"type":"string","minLength":5,"maxLength":5}},"required":["s"]})");
  EXPECT_TRUE(accepts(exact, call("f", parameter("s", "\n</pa"))));
  EXPECT_FALSE(begins(exact, "\n<function=f>\n<parameter=s>\n\n</par")) << "neither an end nor five characters";
}

TEST(ToolGrammar, OtherTypesAreJsonBySchema) {
  const auto grammar =
      one(R"({"properties":{"o":{"type":"object","properties":{"k":{"type":"array","items":{"enum":[1,2]}}},
      "required":["k"],"additionalProperties":false}},"required":["o"]})");
  EXPECT_TRUE(accepts(grammar, call("f", parameter("o", R"({"k": [1, 2]})"))));
  EXPECT_FALSE(accepts(grammar, call("f", parameter("o", R"({"k": [3]})"))));
  EXPECT_FALSE(accepts(grammar, call("f", parameter("o", R"( {"k": [1]})")))) << "blanks belong to strings";
  const auto referring = one(R"({"$defs":{"n":{"type":"integer","maximum":5}},"properties":{"n":{"$ref":"#/$defs/n"}},
                                "required":["n"]})");
  EXPECT_TRUE(accepts(referring, call("f", parameter("n", "5"))));
  EXPECT_FALSE(accepts(referring, call("f", parameter("n", "6"))));
}

TEST(ToolGrammar, EnumsOfStringsAreWrittenWithoutQuotes) {
  const auto grammar = one(R"({"properties":{"e":{"enum":["one","t\"wo","é",3,null]}},"required":["e"]})");
  for (const std::string valid : {"one", "t\"wo", "é", "3", "null"})
    EXPECT_TRUE(accepts(grammar, call("f", parameter("e", valid)))) << valid;
  for (const std::string invalid : {"\"one\"", "on", "ones", "4", ""})
    EXPECT_FALSE(accepts(grammar, call("f", parameter("e", invalid)))) << invalid;
}

TEST(ToolGrammar, WhatCantBeEnforcedFallsBackToTheType) {
  const auto grammar = one(R"({"properties":{"i":{"type":"integer","multipleOf":5,"format":"x"},
      "s":{"type":"string","pattern":"^a"},"any":{"oneOf":[{"type":"null"}]},"odd":{"type":"date"}},
      "required":["i","s","any","odd","undeclared"]})");
  const auto text = [](const std::string& i, const std::string& s) {
    return call("f", parameter("i", i) + parameter("s", s) + parameter("any", "x y") + parameter("odd", "1") +
                         parameter("undeclared", "z"));
  };
  EXPECT_TRUE(accepts(grammar, text("7", "b")));
  EXPECT_FALSE(accepts(grammar, text("x", "b")));
}

TEST(ToolGrammar, OnlyOfferedToolsAndTheNamedOneCanBeCalled) {
  const Json tools = Json::array({tool("add", R"({"properties":{"x":{"type":"integer"}}})"),
                                  tool("add_all", "{}"),
                                  {{"type", "function"}, {"function", {{"name", "now"}}}}});
  const auto any = shared(compile_tool_calls(tools, std::nullopt));
  EXPECT_TRUE(accepts(any, call("add", parameter("x", "1"))));
  EXPECT_TRUE(accepts(any, call("add_all", "")));
  EXPECT_TRUE(accepts(any, call("now", "")));
  EXPECT_FALSE(accepts(any, call("now", parameter("x", "1"))));
  EXPECT_FALSE(accepts(any, call("sub", "")));
  const auto named = shared(compile_tool_calls(tools, "add_all"));
  EXPECT_TRUE(accepts(named, call("add_all", "")));
  EXPECT_FALSE(accepts(named, call("add", "")));
  EXPECT_FALSE(begins(named, "\n\n"));
  EXPECT_THROW(compile_tool_calls(tools, "sub"), Error);
  EXPECT_THROW(compile_tool_calls(Json::array(), std::nullopt), Error);
}

TEST(ToolGrammar, NamesThatTheFormatCantWriteAreRefused) {
  for (const std::string name : {"", "a>b", "a\nb"}) {
    EXPECT_THROW(compile_tool_calls(Json::array({tool(name, "{}")}), std::nullopt), Error) << name;
    const Json parameters = {{"properties", {{name, {{"type", "string"}}}}}};
    EXPECT_THROW(compile_tool_calls(Json::array({tool("f", parameters.dump())}), std::nullopt), Error) << name;
  }
  EXPECT_THROW(compile_tool_calls(Json::array({3}), std::nullopt), Error);
  EXPECT_THROW(one(R"({"properties":{"a":{"enum":["x\n</parameter>"]}},"required":["a"]})"), SchemaError);
}

TEST(Choice, IsOneOfItsTextsAsTheyAre) {
  const std::vector<std::string> texts = {"yes", "yes, but", " no\n", "é"};
  const auto grammar = shared(compile_choice(texts));
  for (const std::string& text : texts) EXPECT_TRUE(accepts(grammar, text)) << text;
  for (const std::string invalid : {"", "ye", "yes,", "\"yes\"", "no", " yes", "maybe"})
    EXPECT_FALSE(accepts(grammar, invalid)) << invalid;
  EXPECT_THROW(compile_choice({}), Error);
  EXPECT_THROW(compile_choice(std::vector<std::string>{"a", ""}), Error);
  EXPECT_THROW(compile_choice(std::vector<std::string>{"\xFF"}), Error);
  EXPECT_THROW(compile_choice(std::vector<std::string>{std::string(300 << 10, 'x')}), Error);
}

}  // namespace
}  // namespace strata
