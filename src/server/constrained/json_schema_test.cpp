// Schemas against instances: accepted, a byte at a time and as tokens, exactly if valid.
#include "server/constrained/json_schema.h"

#include <gtest/gtest.h>

#include "server/constrained/grammar_test_support.h"

namespace strata {
namespace {

/// A schema, texts that it accepts and texts that it doesn't, none of which is a matter of key order.
struct Case {
  const char* schema;
  std::vector<const char*> valid, invalid;
};

const std::vector<Case> kCases = {
    {R"({"type":"null"})", {"null"}, {"nul", "0", "\"null\"", "nulll"}},
    {R"({"type":"boolean"})", {"true", "false"}, {"True", "1", "null"}},
    {R"({"type":"string"})",
     {R"("")", R"("a")", R"("é€😀")", R"("\n\"\\\/\b\f\r\t")", R"("\u0041\ud83d\ude00\uD7FF\uE000")"},
     {"a", R"("a)", "\"\n\"", R"("\x")", R"("\ud83d")", R"("\ud83da")", R"("\ud83d\u0041")", R"("\ude00")",
      R"("\u12g4")", "\"\x80\"", "\"\xC3\"", "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", "\"\xF4\x90\x80\x80\"", R"("a"")"}},
    {R"({"type":"string","minLength":2,"maxLength":3})",
     {R"("ab")", R"("abc")", R"("é€")", R"("😀😀😀")", R"("\n\n")", R"("\ud83d\ude00a")"},
     {R"("")", R"("a")", R"("abcd")", R"("😀")", R"("\ud83d\ude00")", R"("\n\n\n\n")"}},
    {R"({"type":"string","maxLength":0})", {R"("")"}, {R"("a")"}},
    {R"({"type":"integer"})", {"0", "-0", "7", "-12", "12345678901234567890"}, {"01", "1.0", "1e3", "+1", "-", ""}},
    {R"({"type":"number"})", {"0", "1.5", "-0.25", "1e5", "1E-7", "2.5e+10"}, {".5", "1.", "1e", "00", "--1", "NaN"}},
    {R"({"type":"number","minimum":0.5,"maximum":17})",
     {"0.5", "0.50", "0.75", "1", "16.999", "17", "17.0"},
     {"0", "0.4999", "0.05", "17.0001", "18", "-1", "170"}},
    {R"({"type":"number","exclusiveMinimum":-1,"exclusiveMaximum":1})",
     {"0", "-0.999", "0.999", "-0"},
     {"1", "-1", "1.0", "-1.0", "1.5"}},
    {R"({"type":"integer","minimum":-20,"maximum":-3})", {"-20", "-3", "-11"}, {"-21", "-2", "3", "0", "-200", "-1"}},
    {R"({"type":"integer","minimum":5})", {"5", "10", "99999"}, {"4", "0", "-5"}},
    {R"({"type":"integer","minimum":5,"exclusiveMinimum":5})", {"6"}, {"5"}},
    {R"({"minimum":5})", {"5", R"("a")", "null", "[1]", R"({"a":1})"}, {"4"}},
    {R"({"enum":["red","gr\"een","é\n",7,null,true]})",
     {R"("red")", R"("gr\"een")", R"("é\n")", R"("\u00e9\n")", "7", "null", "true"},
     {R"("blue")", "8", "77", "false", R"("red)", R"("redd")"}},
    {R"({"enum":[1,12,1.5]})", {"1", "12", "1.5"}, {"2", "121", "1.", "15"}},
    {R"({"const":"x"})", {R"("x")"}, {R"("y")", "x"}},
    {R"({"const":2.0})", {"2", "2.0"}, {"2.5", "20"}},
    {R"({"const":{"a":[1,{"b":null}],"c":"d"}})",
     {R"({"a":[1,{"b":null}],"c":"d"})"},
     {R"({"a":[1,{"b":null}]})", R"({"a":[1],"c":"d"})", R"({"a":[1,{"b":null}],"c":"d","e":1})", "{}"}},
    {R"({"type":["integer","string"],"enum":["a",1,null,2.5]})", {R"("a")", "1"}, {"null", "2.5"}},
    {R"({"enum":[1,5,9,"abc","a"],"minimum":4,"maxLength":2})", {"5", "9", R"("a")"}, {"1", R"("abc")"}},
    {R"({"type":["string","null"]})", {R"("a")", "null"}, {"1", "true"}},
    {R"({"type":["number","boolean"],"maximum":3})", {"3", "-9.5", "true"}, {"4", "null"}},
    {R"({"type":"array"})", {"[]", R"([1,"a",[],{}])"}, {"[1,]", "[,1]", "[1 2]", "{}"}},
    {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
     {"[1]", "[1,2]", "[1,2,3]"},
     {"[]", "[1,2,3,4]", R"(["a"])"}},
    {R"({"type":"array","items":false})", {"[]"}, {"[1]", "[null]"}},
    {R"({"type":"array","items":{"type":"array","items":{"type":"boolean"},"minItems":2}})",
     {"[]", "[[true,false]]", "[[true,false],[false,false,true]]"},
     {"[[true]]", "[true]"}},
    {R"({"type":"object"})",
     {"{}", R"({"a":1})", R"({"a":{"b":[{}]},"c":null})"},
     {"[]", R"({a:1})", R"({"a":1,})", R"({"a"})"}},
    {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"],
         "additionalProperties":false})",
     {R"({"a":1})", R"({"a":1,"b":"x"})"},
     {"{}", R"({"b":"x"})", R"({"a":"x"})", R"({"a":1,"b":"x","c":1})", R"({"a":1,"a":2})", R"({"c":1})"}},
    {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},
         "additionalProperties":false})",
     {"{}", R"({"a":1})", R"({"b":"x"})", R"({"c":null})", R"({"a":1,"c":null})", R"({"a":1,"b":"","c":null})"},
     {R"({"d":1})", R"({"a":null})", R"({"b":"x","b":"y"})"}},
    {R"({"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":true})",
     {"{}", R"({"a":1})", R"({"a":1,"b":[1]})", R"({"b":"x"})", R"({"ab":1})", R"({"":1})", R"({"\u0062":2})"},
     {R"({"a":"x"})", R"({"\u0061":"x"})", R"({"a":1,"a":"x"})", R"({"b":1,"a":"x"})"}},
    {R"({"type":"object","properties":{"é\"":{"type":"integer"}},"additionalProperties":true})",
     {R"({"é\"":1})", R"({"\u00e9\"":1})", R"({"é":"x"})"},
     {R"({"é\"":"x"})", R"({"\u00E9\u0022":"x"})", R"({"é\u0022":"x"})"}},
    {R"({"type":"object","additionalProperties":{"type":"integer"}})", {"{}", R"({"a":1,"b":2})"}, {R"({"a":"x"})"}},
    {R"({"type":"object","required":["z"]})", {R"({"z":1})", R"({"z":[],"y":2})"}, {"{}", R"({"y":1})"}},
    {R"({"type":"object","properties":{"a":false,"b":true},"additionalProperties":true})",
     {"{}", R"({"b":1})", R"({"c":1})"},
     {R"({"a":1})"}},
    {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":2},{"type":"null"}]})",
     {"1", R"("ab")", "null"},
     {R"("abc")", "true", "1.5"}},
    {R"({"anyOf":[{"type":"integer","maximum":5},{"type":"integer","minimum":10}]})",
     {"5", "10", "-3", "12"},
     {"6", "9"}},
    {R"({"anyOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k","x"],
                   "additionalProperties":false},
                  {"type":"object","properties":{"k":{"const":"b"},"y":{"type":"string"}},"required":["k","y"],
                   "additionalProperties":false}]})",
     {R"({"k":"a","x":1})", R"({"k":"b","y":"z"})"},
     {R"({"k":"a","y":"z"})", R"({"k":"b","x":1})", R"({"k":"a"})", R"({"k":"c","x":1})"}},
    {R"({"type":["string","integer"],"anyOf":[{"maxLength":1},{"minimum":5,"type":["integer","null"]}]})",
     {R"("a")", "7", "3"},
     {"null", R"("ab")", "1.5"}},
    {R"({"$defs":{"pos":{"type":"integer","minimum":1}},"type":"object",
         "properties":{"a":{"$ref":"#/$defs/pos"},"b":{"$ref":"#/$defs/pos"}},"required":["a","b"],
         "additionalProperties":false})",
     {R"({"a":1,"b":22})"},
     {R"({"a":0,"b":22})", R"({"a":1})"}},
    {R"({"$defs":{"a/b~c d":{"type":"null"}},"$ref":"#/$defs/a~1b~0c%20d"})", {"null"}, {"1"}},
    {R"({"definitions":{"x":true},"$ref":"#/definitions/x"})", {"1", "{}"}, {"x"}},
    {R"({"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},
         "required":["value","next"],"additionalProperties":false})",
     {R"({"value":1,"next":null})", R"({"value":1,"next":{"value":2,"next":{"value":3,"next":null}}})"},
     {R"({"value":1})", R"({"value":1,"next":{"value":2}})", R"({"value":1,"next":1})"}},
    {R"({"$defs":{"tree":{"type":"array","items":{"$ref":"#/$defs/tree"}}},"$ref":"#/$defs/tree"})",
     {"[]", "[[],[[]]]"},
     {"[1]", "[[]", "{}"}},
    {R"({"anyOf":[{"$ref":"#"},{"type":"integer"}]})", {"1"}, {R"("a")"}},
    {"true", {"1", "{}", R"("x")", R"([{"a":[null]}])"}, {"x", ""}},
    {"{}", {"1", "{}", "null"}, {"x"}},
    {R"({"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"urn:x","$comment":"c","title":"t","description":"d",
         "default":0,"examples":[{"pattern":"x"}],"type":"integer"})",
     {"3"},
     {R"("3")"}},
};

std::string spaced(const Json& value, int indent = 1) { return value.dump(indent); }

bool accepts_tokens(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  GrammarState state(grammar);
  for (const TokenId token : demo_tokenizer().encode(text, {.post_process = false}))
    if (!state.advance(demo_tokenizer().bytes(token))) return false;
  return state.can_end();
}

TEST(JsonSchema, AcceptsWhatIsValidAndNothingElse) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.schema);
    const auto grammar = schema_grammar(c.schema);
    for (const std::string text : c.valid) {
      EXPECT_TRUE(accepts(grammar, text)) << c.schema << "\n" << text;
      EXPECT_TRUE(accepts_tokens(grammar, text)) << c.schema << "\n" << text;
      EXPECT_TRUE(accepts(grammar, "\n " + text)) << c.schema << "\n" << text;
      EXPECT_FALSE(accepts(grammar, text + " ")) << "nothing follows the value: " << c.schema << "\n" << text;
      const Json value = Json::parse(text);
      if (value.is_structured()) {
        EXPECT_TRUE(accepts(grammar, spaced(value))) << c.schema << "\n" << spaced(value);
      }
    }
    for (const std::string text : c.invalid) {
      EXPECT_FALSE(accepts(grammar, text)) << c.schema << "\n" << text;
      // Of two equal keys a parsed value keeps one.
      if (Json::accept(text) && Json::parse(text).is_structured() && Json::parse(text).dump() == text) {
        EXPECT_FALSE(accepts(grammar, spaced(Json::parse(text)))) << c.schema << "\n" << text;
      }
    }
  }
}

TEST(JsonSchema, EverySplitOfAValidTextIsReached) {
  for (const Case& c : kCases) {
    const auto grammar = schema_grammar(c.schema);
    for (const std::string text : c.valid) {
      for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        GrammarState state(grammar);
        EXPECT_TRUE(state.advance(text.substr(0, cut)) && state.advance(text.substr(cut)) && state.can_end())
            << c.schema << "\n"
            << text << " cut at " << cut;
      }
    }
  }
}

TEST(JsonSchema, KeysComeInTheSchemasOrder) {
  const auto grammar = schema_grammar(R"({"properties":{"a":true,"b":true},"type":"object"})");
  EXPECT_TRUE(accepts(grammar, R"({"a":1,"b":2,"c":3})"));
  EXPECT_FALSE(accepts(grammar, R"({"b":1,"a":2})"));
  EXPECT_FALSE(accepts(grammar, R"({"c":1,"a":2})"));
}

TEST(JsonSchema, BlanksAreBounded) {
  const auto grammar = schema_grammar(R"({"type":"object","properties":{"a":true}})");
  const std::string indent = "\n" + std::string(kMaxIndent, ' ');
  const std::string before(kMaxLeadingLineEnds, '\n');
  EXPECT_TRUE(begins(grammar, before + " {"));
  EXPECT_FALSE(begins(grammar, before + "\n"));
  EXPECT_FALSE(begins(grammar, "  "));
  for (const std::string& blanks : {std::string(" "), std::string("\n"), indent}) {
    EXPECT_TRUE(accepts(grammar, before + "{" + blanks + "\"a\"" + blanks + ":" + blanks + "[" + blanks + "1" + blanks +
                                     "," + blanks + "2" + blanks + "]" + blanks + "}"));
  }
  for (const std::string start :
       {"{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":[", "{\"a\":[1", "{\"a\":[1,"}) {
    EXPECT_TRUE(begins(grammar, start + indent)) << start;
    for (const std::string& more : {indent + " ", indent + "\n", std::string("  "), std::string("\n\n"),
                                    std::string(" \n"), std::string("\t"), std::string("\r")})
      EXPECT_FALSE(begins(grammar, start + more)) << start;
  }
}

TEST(JsonSchema, NestingIsBoundedAndWhatIsOpenedCanBeClosed) {
  const auto grammar = schema_grammar("{}");
  const std::string deepest(kMaxNesting, '[');
  EXPECT_TRUE(accepts(grammar, deepest + "1" + std::string(kMaxNesting, ']')));
  EXPECT_FALSE(begins(grammar, deepest + "["));
  EXPECT_FALSE(begins(grammar, deepest + "{"));
  // Each level needs two containers: the last one fits only where both do.
  const auto list = schema_grammar(R"({"type":"object","properties":{"n":{"type":"array","items":{"$ref":"#"}}},
                                       "additionalProperties":false})");
  std::string text;
  for (int level = 0; level < kMaxNesting / 2; ++level) text += "{\"n\":[";
  EXPECT_TRUE(begins(list, text));
  EXPECT_FALSE(begins(list, text + "{"));
  EXPECT_TRUE(begins(list, text + "]}"));
}

TEST(JsonSchema, RefusesWhatItDoesNotEnforceByNameAndPlace) {
  const auto refused = [](std::string_view schema, const std::string& keyword, const std::string& pointer) {
    try {
      schema_grammar(schema);
      FAIL() << "accepted: " << schema;
    } catch (const SchemaError& error) {
      EXPECT_EQ(error.keyword(), keyword) << error.what();
      EXPECT_EQ(error.pointer(), pointer) << error.what();
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find(keyword), std::string::npos) << error.what();
    }
  };
  for (const std::string keyword : {"pattern",
                                    "format",
                                    "multipleOf",
                                    "oneOf",
                                    "allOf",
                                    "not",
                                    "if",
                                    "then",
                                    "else",
                                    "prefixItems",
                                    "contains",
                                    "uniqueItems",
                                    "patternProperties",
                                    "propertyNames",
                                    "minProperties",
                                    "maxProperties",
                                    "dependentRequired",
                                    "dependentSchemas",
                                    "unevaluatedItems",
                                    "unevaluatedProperties",
                                    "$anchor",
                                    "$dynamicRef",
                                    "contentEncoding",
                                    "nullable",
                                    "readOnly",
                                    "x-order",
                                    "minlength"})
    refused(R"({"type":"object","properties":{"a/b":{"items":{"type":"string",")" + keyword + R"(":1}}}})", keyword,
            "#/properties/a~1b/items");
  refused(R"({"$defs":{"d":{"pattern":"x"}},"anyOf":[true,{"$ref":"#/$defs/d"}]})", "pattern", "#/$defs/d");
  refused(R"({"anyOf":[{"type":"string"}],"maxLength":3})", "maxLength", "#");
  refused(R"({"$defs":{"d":true},"$ref":"#/$defs/d","minimum":3})", "minimum", "#");
  refused(R"({"enum":[[1]],"minItems":3})", "minItems", "#");
  refused(R"({"$ref":"https://example.com/schema"})", "$ref", "#");
  refused(R"({"$ref":"#/$defs/none"})", "$ref", "#");
  refused(R"({"$ref":"#anchor"})", "$ref", "#");
  refused(R"({"type":"int"})", "type", "#");
  refused(R"({"type":[]})", "type", "#");
  refused(R"({"type":3})", "type", "#");
  refused(R"({"minLength":-1})", "minLength", "#");
  refused(R"({"minItems":1.5})", "minItems", "#");
  refused(R"({"minItems":100000000})", "minItems", "#");
  refused(R"({"required":"a"})", "required", "#");
  refused(R"({"properties":[]})", "properties", "#");
  refused(R"({"properties":{"a":3}})", "", "#/properties/a");
  refused(R"({"items":[{"type":"null"}]})", "items", "#");
  refused(R"({"minimum":"3"})", "minimum", "#");
  refused(R"({"exclusiveMinimum":true,"minimum":3})", "exclusiveMinimum", "#");
  refused(R"({"minimum":1e30})", "minimum", "#");
  refused(R"({"minimum":1e-300})", "minimum", "#");
  refused(R"({"enum":[]})", "enum", "#");
  refused(R"({"anyOf":[]})", "anyOf", "#");
  refused("3", "", "#");
}

TEST(JsonSchema, RefusesWhatHasNoValue) {
  for (const char* schema : {"false", R"({"$ref":"#"})", R"({"type":"integer","minimum":3,"maximum":2})",
                             R"({"type":"string","minLength":3,"maxLength":2})", R"({"anyOf":[false,{"$ref":"#"}]})",
                             R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
                             R"({"type":"array","items":{"$ref":"#"},"minItems":1})", R"({"type":"string","enum":[1]})",
                             R"({"type":"object","required":["a"],"additionalProperties":false})"})
    EXPECT_THROW(schema_grammar(schema), SchemaError) << schema;
}

TEST(JsonSchema, AnImpossibleOptionalPropertyIsLeftOut) {
  const auto grammar = schema_grammar(
      R"({"type":"object","properties":{"no":{"type":"integer","minimum":3,"maximum":2},"nested":{"$ref":"#"}},
          "additionalProperties":false})");
  EXPECT_TRUE(accepts(grammar, "{}"));
  EXPECT_TRUE(accepts(grammar, R"({"nested":{"nested":{}}})"));
  EXPECT_FALSE(begins(grammar, R"({"no)")) << "no value could follow";
  EXPECT_TRUE(begins(grammar, R"({"n)"));
}

TEST(JsonSchema, CostsAreBounded) {
  const auto refused = [](const Json& schema) { EXPECT_THROW(compile_json_schema(schema), SchemaError); };
  Json deep = true;
  for (int level = 0; level < 40; ++level) deep = Json{{"items", deep}};
  EXPECT_NO_THROW(compile_json_schema(deep));
  for (int level = 0; level < 40; ++level) deep = Json{{"items", deep}};
  refused(deep);
  refused({{"description", std::string(2 << 20, 'x')}});
  refused({{"const", std::string(300 << 10, 'x')}});
  Json many = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 5000; ++i) many["properties"].push_back({"key" + std::to_string(i), {{"type", "integer"}}});
  const auto grammar = shared(compile_json_schema(many));
  EXPECT_TRUE(accepts(grammar, R"({"key7":1,"key4999":2,"other":null})"));
  many["properties"].push_back({"more", true});
  refused(many);
  // References that multiply: n levels of two alternatives each, followed one after the other.
  Json chain = {{"$ref", "#/$defs/d0"}, {"$defs", Json::object()}};
  for (int i = 0; i < 15000; ++i)
    chain["$defs"].push_back(
        {"d" + std::to_string(i), {{"anyOf", {{{"$ref", "#/$defs/d" + std::to_string(i + 1)}}, {{"type", "null"}}}}}});
  chain["$defs"].push_back({"d15000", true});
  refused(chain);
}

}  // namespace
}  // namespace strata
