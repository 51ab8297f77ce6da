#include "server/constrained/token_constraints.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "server/constrained/constraint_compiler.h"
#include "server/constrained/grammar_test_support.h"

namespace strata {
namespace {

constexpr TokenId kEnd = 11, kThink = 12, kThinkEnd = 13, kCall = 14, kCallEnd = 15;

class Constraints : public testing::Test {
 protected:
  static std::vector<std::uint32_t> allowed(TokenConstraint& constraint) {
    std::vector<std::uint32_t> mask(mask_words(demo_tokenizer().vocab_size()), UINT32_MAX);
    constraint.restrict(mask);
    return mask;
  }
  static bool allows(TokenConstraint& constraint, TokenId token) {
    return (allowed(constraint)[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1) != 0;
  }
  /// Accepts each token, allowed before it came.
  static void take(TokenConstraint& constraint, const std::vector<TokenId>& tokens) {
    for (const TokenId token : tokens) {
      EXPECT_TRUE(allows(constraint, token)) << token << " " << demo_tokenizer().bytes(token);
      constraint.accept(token);
    }
  }
  static std::vector<TokenId> ids(std::string_view text) {
    return demo_tokenizer().encode(text, {.post_process = false});
  }
  static TokenId byte(char c) { return demo_tokenizer().find(c == '\n' ? "Ċ" : std::string(1, c)).value(); }
  /// The answer may end here, and nothing else may come.
  static void expect_end_only(TokenConstraint& constraint) {
    std::size_t bits = 0;
    for (const std::uint32_t word : allowed(constraint)) bits += static_cast<std::size_t>(std::popcount(word));
    EXPECT_EQ(bits, 1u);
    EXPECT_TRUE(allows(constraint, kEnd));
  }

  ConstraintCompiler compiler{demo_tokenizer(), {kEnd}};
  const Json schema = Json::parse(
      R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false})");
  const Json tools = Json::parse(
      R"([{"type":"function","function":{"name":"f","parameters":{"properties":{"x":{"type":"string"}}}}}])");
};

TEST_F(Constraints, AnAnswerEndsWhenItsTextIsCompleteAndNotBefore) {
  const auto constraint = compiler.constrain_answer(compiler.json_schema(schema), AnswerStart::content);
  EXPECT_FALSE(allows(*constraint, kEnd));
  EXPECT_FALSE(allows(*constraint, byte('x')));
  EXPECT_FALSE(allows(*constraint, kCall));
  take(*constraint, ids("\n{\"a\": 12"));
  EXPECT_FALSE(allows(*constraint, kEnd));
  take(*constraint, ids("}"));
  expect_end_only(*constraint);
  take(*constraint, {kEnd});
  expect_end_only(*constraint);
}

TEST_F(Constraints, ANumberMayGoOnOrEnd) {
  const auto constraint =
      compiler.constrain_answer(compiler.json_schema(Json{{"type", "integer"}, {"maximum", 99}}), AnswerStart::content);
  take(*constraint, ids("1"));
  EXPECT_TRUE(allows(*constraint, kEnd));
  EXPECT_TRUE(allows(*constraint, byte('2')));
  take(*constraint, ids("2"));
  expect_end_only(*constraint);
}

TEST_F(Constraints, ThinkingIsFreeButForMarksAndTheEnd) {
  const auto constraint = compiler.constrain_answer(compiler.json_schema(schema), AnswerStart::thinking);
  take(*constraint, ids("I think \"{}\" is {\"a\": 1}.\n"));
  for (const TokenId mark : {kEnd, kThink, kCall, kCallEnd, 10, 16, 0, 2})
    EXPECT_FALSE(allows(*constraint, mark)) << mark;
  take(*constraint, {kThinkEnd});
  EXPECT_FALSE(allows(*constraint, byte('x')));
  take(*constraint, ids("\n\n{\"a\":1}"));
  expect_end_only(*constraint);
}

TEST_F(Constraints, ATokenWithoutAPlaceFailsTheAnswer) {
  const auto constraint = compiler.constrain_answer(compiler.json_schema(schema), AnswerStart::content);
  EXPECT_THROW(constraint->accept(byte('x')), Error);
  EXPECT_THROW(constraint->accept(kEnd), Error);
  EXPECT_THROW(constraint->accept(kCall), Error);
  EXPECT_NO_THROW(constraint->accept(byte('{')));
}

TEST_F(Constraints, RestrictOnlyClearsBits) {
  const auto constraint = compiler.constrain_answer(compiler.json_object(), AnswerStart::content);
  std::vector<std::uint32_t> none(mask_words(demo_tokenizer().vocab_size()), 0);
  EXPECT_FALSE(constraint->restrict(none));
  EXPECT_EQ(none, std::vector<std::uint32_t>(none.size(), 0));
  // A model may have more rows of logits than its tokenizer has tokens.
  std::vector<std::uint32_t> longer(none.size() + 4, UINT32_MAX);
  EXPECT_TRUE(constraint->restrict(longer));
  for (std::size_t word = none.size(); word < longer.size(); ++word) EXPECT_EQ(longer[word], 0u);
}

TEST_F(Constraints, AToolCallIsForcedAndEndsTheAnswer) {
  const auto constraint =
      compiler.constrain_tool_calls(compiler.tool_calls(tools, std::nullopt), AnswerStart::content, false);
  EXPECT_FALSE(allows(*constraint, kEnd));
  EXPECT_FALSE(allows(*constraint, byte('x')));
  take(*constraint, {kCall});
  EXPECT_FALSE(allows(*constraint, kCallEnd));
  take(*constraint, ids("\n<function=f>\n<parameter=x>\na \"b\"\n</parameter>\n"));
  EXPECT_FALSE(allows(*constraint, kCallEnd));
  take(*constraint, ids("</function>\n"));
  take(*constraint, {kCallEnd});
  expect_end_only(*constraint);
}

TEST_F(Constraints, ParallelCallsAreBounded) {
  const auto constraint = compiler.constrain_tool_calls(compiler.tool_calls(tools, "f"), AnswerStart::thinking, true);
  take(*constraint, ids("Let me call."));
  EXPECT_FALSE(allows(*constraint, kCall));
  take(*constraint, {kThinkEnd});
  take(*constraint, ids("\n"));
  take(*constraint, ids("\n"));
  EXPECT_FALSE(allows(*constraint, byte('\n')));
  for (int calls = 0; calls < ToolConstraint::kMaxCalls; ++calls) {
    take(*constraint, {kCall});
    take(*constraint, ids("\n<function=f>\n</function>\n"));
    take(*constraint, {kCallEnd});
    EXPECT_TRUE(allows(*constraint, kEnd));
  }
  expect_end_only(*constraint);
}

TEST_F(Constraints, WhatWasCompiledIsKept) {
  EXPECT_EQ(compiler.json_schema(schema), compiler.json_schema(Json(schema)));
  EXPECT_NE(compiler.json_schema(schema), compiler.json_schema(Json{{"type", "object"}}));
  EXPECT_EQ(compiler.json_object(), compiler.json_object());
  EXPECT_NE(compiler.tool_calls(tools, std::nullopt), compiler.tool_calls(tools, "f"));
  const std::vector<std::string> ab = {"a", "b"}, a_b = {"a b"};
  EXPECT_NE(compiler.choice(ab), compiler.choice(a_b));
  const auto first = compiler.json_schema(schema);
  for (int i = 0; i < 20; ++i) compiler.json_schema(Json{{"const", i}});
  EXPECT_NE(compiler.json_schema(schema), first) << "the longest unused goes";
  EXPECT_THROW(ConstraintCompiler(demo_tokenizer(), {}), Error);
  EXPECT_THROW(ConstraintCompiler(demo_tokenizer(), {1 << 20}), Error);
}

TEST_F(Constraints, TooDeepSchemasAreRefusedBeforeAnythingWalksThem) {
  Json deep = true;
  for (int level = 0; level < 5000; ++level) deep = Json{{"items", std::move(deep)}};
  EXPECT_THROW(compiler.json_schema(deep), SchemaError);
}

}  // namespace
}  // namespace strata
