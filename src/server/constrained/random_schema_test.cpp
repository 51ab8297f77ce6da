// Random schemas, written by a model without sense: whatever the masks let it write ends and is valid, says a validator
// that shares nothing with the compiler.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "engine/constraint.h"
#include "server/constrained/compiled_grammar.h"
#include "server/constrained/grammar_test_support.h"

namespace strata {
namespace {

using Random = std::mt19937_64;

int up_to(Random& random, int most) { return static_cast<int>(random() % static_cast<std::uint64_t>(most + 1)); }

/// Writes schemas of the promised keywords. References lead to "#" and two definitions, each of which has an end.
class SchemaWriter {
 public:
  explicit SchemaWriter(std::uint64_t seed) : random_(seed) {}

  Json write() {
    Json schema = object(3);
    schema["$defs"] = {{"a", any(2)}, {"b", {{"anyOf", {any(1), {{"type", "null"}}}}}}};
    return schema;
  }

 private:
  Json any(int depth) {
    switch (up_to(random_, depth > 0 ? 10 : 5)) {
      case 0:
        return {{"type", up_to(random_, 1) ? "boolean" : "null"}};
      case 1:
        return string();
      case 2:
        return number("integer");
      case 3:
        return number("number");
      case 4:
        return {{"enum", {"a", "ab\"\\", "é", up_to(random_, 20), nullptr, {{"k", {1, "z"}}}}}};
      case 5:
        return {{"type", {"string", "null", "integer"}}};
      case 6:
        return object(depth - 1);
      case 7:
        return array(depth - 1);
      case 8:
        return {{"anyOf", {any(depth - 1), any(depth - 1), any(0)}}};
      case 9:
        return {{"$ref", up_to(random_, 1) ? "#/$defs/a" : "#/$defs/b"}};
      default:
        return up_to(random_, 1) ? Json(true) : Json{{"const", {{"x", any_value()}}}};
    }
  }

  Json any_value() { return up_to(random_, 1) ? Json("v\n") : Json(up_to(random_, 99) / 4.0); }

  Json string() {
    Json schema = {{"type", "string"}};
    const int least = up_to(random_, 5);
    if (up_to(random_, 1)) schema["minLength"] = least;
    if (up_to(random_, 1)) schema["maxLength"] = least + up_to(random_, 6);
    return schema;
  }

  Json number(const char* type) {
    Json schema = {{"type", type}};
    const bool whole = std::string(type) == "integer";
    const double low = (up_to(random_, 400) - 200) / (whole ? 1.0 : 8.0);
    const auto bound = [&](double value) { return whole ? Json(static_cast<int>(value)) : Json(value); };
    if (up_to(random_, 2)) schema[up_to(random_, 1) ? "minimum" : "exclusiveMinimum"] = bound(low);
    if (up_to(random_, 2))
      schema[up_to(random_, 1) ? "maximum" : "exclusiveMaximum"] = bound(low + 2 + up_to(random_, 60));
    return schema;
  }

  Json array(int depth) {
    Json schema = {{"type", "array"}};
    if (up_to(random_, 2)) schema["items"] = any(depth);
    const int least = up_to(random_, 2);
    if (up_to(random_, 1)) schema["minItems"] = least;
    if (up_to(random_, 1)) schema["maxItems"] = least + up_to(random_, 3);
    return schema;
  }

  Json object(int depth) {
    static const std::vector<std::string> kNames = {"a", "ab", "abc", "b", "é", "q\"", "long name"};
    Json schema = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    for (const std::string& name : kNames) {
      if (up_to(random_, 2)) continue;
      schema["properties"][name] = any(depth);
      if (up_to(random_, 1)) schema["required"].push_back(name);
    }
    if (up_to(random_, 3)) schema["additionalProperties"] = up_to(random_, 3) == 0;
    return schema;
  }

  Random random_;
};

const Json* find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

bool is_of(const std::string& type, const Json& value) {
  if (type == "integer") return value.is_number() && std::floor(value.get<double>()) == value.get<double>();
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

/// JSON Schema's meaning, read from its text. Numbers come rounded to doubles, so an excluded bound counts as included.
bool is_valid(const Json& root, const Json& schema, const Json& value) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (const Json* ref = find(schema, "$ref"); ref != nullptr) {
    const Json::json_pointer pointer(ref->get<std::string>().substr(1));
    if (!is_valid(root, root[pointer], value)) return false;
  }
  if (const Json* types = find(schema, "type"); types != nullptr) {
    bool some = false;
    for (const Json& type : types->is_array() ? *types : Json::array({*types})) some |= is_of(type, value);
    if (!some) return false;
  }
  if (const Json* any = find(schema, "anyOf"); any != nullptr) {
    bool some = false;
    for (const Json& alternative : *any) some |= is_valid(root, alternative, value);
    if (!some) return false;
  }
  if (const Json* constant = find(schema, "const"); constant != nullptr && *constant != value) return false;
  if (const Json* values = find(schema, "enum"); values != nullptr)
    if (std::find(values->begin(), values->end(), value) == values->end()) return false;
  const auto limit = [&](const char* name, double otherwise) {
    const Json* found = find(schema, name);
    return found == nullptr ? otherwise : found->get<double>();
  };
  if (value.is_number()) {
    const double number = value.get<double>();
    if (number < limit("minimum", -INFINITY) || number < limit("exclusiveMinimum", -INFINITY)) return false;
    if (number > limit("maximum", INFINITY) || number > limit("exclusiveMaximum", INFINITY)) return false;
  }
  if (value.is_string()) {
    int length = 0;
    for (const char byte : value.get<std::string>()) length += (byte & 0xC0) != 0x80;
    if (length < limit("minLength", 0) || length > limit("maxLength", INFINITY)) return false;
  }
  if (value.is_array()) {
    const auto size = static_cast<double>(value.size());
    if (size < limit("minItems", 0) || size > limit("maxItems", INFINITY)) return false;
    const Json* items = find(schema, "items");
    for (const Json& element : value)
      if (items != nullptr && !is_valid(root, *items, element)) return false;
  }
  if (value.is_object()) {
    const Json* properties = find(schema, "properties");
    const Json* additional = find(schema, "additionalProperties");
    for (const auto& [name, member] : value.items()) {
      const Json* property = properties == nullptr ? nullptr : find(*properties, name.c_str());
      const Json* its = property != nullptr ? property : additional;
      if (its != nullptr && !is_valid(root, *its, member)) return false;
    }
    if (const Json* required = find(schema, "required"); required != nullptr)
      for (const Json& name : *required)
        if (!value.contains(name.get<std::string>())) return false;
  }
  return true;
}

const std::shared_ptr<const TokenTrie>& demo_trie() {
  static const auto trie = std::make_shared<const TokenTrie>(demo_tokenizer());
  return trie;
}

std::vector<TokenId> set_bits(const std::vector<std::uint32_t>& mask) {
  std::vector<TokenId> tokens;
  for (std::size_t word = 0; word < mask.size(); ++word)
    for (int bit = 0; bit < 32; ++bit)
      if ((mask[word] >> bit & 1) != 0)
        tokens.push_back(static_cast<TokenId>(word * 32 + static_cast<std::size_t>(bit)));
  return tokens;
}

/// The tokens after which `state` can go on, each tried for itself.
std::vector<TokenId> tried(const GrammarState& state) {
  std::vector<TokenId> tokens;
  for (TokenId token = 0; token < demo_tokenizer().vocab_size(); ++token) {
    const std::string_view bytes = demo_trie()->bytes(token);
    if (!bytes.empty() && GrammarState(state).advance(bytes)) tokens.push_back(token);
  }
  return tokens;
}

/// A text of the grammar. Free for some tokens, then it takes what leads to an end: closing bytes first.
std::string wander(const CompiledGrammar& grammar, Random& random, int free_tokens, bool check_masks) {
  constexpr int kMost = 4000;
  GrammarState state(grammar.grammar());
  std::string text;
  for (int step = 0; step < kMost; ++step) {
    if (state.can_end() && (step >= free_tokens || up_to(random, 3) == 0)) return text;
    std::vector<std::uint32_t> mask(mask_words(grammar.trie().vocab_size()));
    grammar.allow(state, mask);
    const std::vector<TokenId> tokens = set_bits(mask);
    if (check_masks && step % 16 == 0) {
      EXPECT_EQ(tokens, tried(state)) << text;
    }
    if (tokens.empty()) {
      EXPECT_TRUE(state.can_end()) << "nothing may follow " << text;
      return text;
    }
    TokenId chosen = tokens[random() % tokens.size()];
    if (step >= free_tokens) {
      const TokenId tilde = demo_tokenizer().find("~").value();  // comes in strings only
      const bool in_string = std::find(tokens.begin(), tokens.end(), tilde) != tokens.end();
      const auto rank = [&](TokenId token) {
        const std::string_view bytes = grammar.trie().bytes(token);
        const std::size_t place = std::string_view(in_string ? "\"" : "}]\",:0123456789").find(bytes[0]);
        return std::pair(place, bytes.size());
      };
      chosen = *std::min_element(tokens.begin(), tokens.end(), [&](TokenId a, TokenId b) { return rank(a) < rank(b); });
    }
    const std::string_view bytes = grammar.trie().bytes(chosen);
    EXPECT_TRUE(state.advance(bytes)) << "the mask let through what the grammar doesn't: " << text << " + " << bytes;
    text += bytes;
  }
  ADD_FAILURE() << "no end: " << text.substr(0, 500);
  return text;
}

TEST(RandomSchemas, WhatMasksLetThroughIsValidAndEnds) {
  int walks = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    const Json schema = SchemaWriter(seed).write();
    std::unique_ptr<CompiledGrammar> grammar;
    try {
      grammar = std::make_unique<CompiledGrammar>(compile_json_schema(schema), demo_trie());
    } catch (const SchemaError& error) {
      EXPECT_NE(std::string(error.what()).find("no value is valid"), std::string::npos) << error.what() << schema;
      continue;
    }
    Random random(seed);
    for (const int free_tokens : {0, 10, 40, 120}) {
      const std::string text = wander(*grammar, random, free_tokens, seed % 30 == 0);
      ASSERT_TRUE(Json::accept(text)) << schema << "\n" << text;
      EXPECT_TRUE(is_valid(schema, schema, Json::parse(text))) << schema << "\n" << text;
      EXPECT_TRUE(accepts(grammar->grammar(), text));
      ++walks;
    }
  }
  EXPECT_GE(walks, 500) << "most schemas have values";
}

TEST(RandomSchemas, OneKeyNameMoreMakesAValidTextInvalid) {
  // The validator above and the grammar agree on refusals too: each member of a text taken away or added.
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const Json schema = SchemaWriter(seed).write();
    std::shared_ptr<const CompiledGrammar> grammar;
    try {
      grammar = std::make_shared<const CompiledGrammar>(compile_json_schema(schema), demo_trie());
    } catch (const SchemaError&) {
      continue;
    }
    Random random(seed);
    const Json value = Json::parse(wander(*grammar, random, 30, false));
    for (std::size_t i = 0; i <= value.size(); ++i) {
      Json changed = value;
      if (i == value.size()) {
        changed["zz new"] = 3;
      } else {
        changed.erase(std::next(value.begin(), static_cast<std::ptrdiff_t>(i)).key());
      }
      EXPECT_EQ(accepts(grammar->grammar(), changed.dump()), is_valid(schema, schema, changed)) << schema << "\n"
                                                                                                << changed;
    }
  }
}

}  // namespace
}  // namespace strata
