#include "server/constrained/compiled_grammar.h"

#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cstdio>
#include <random>
#include <set>

#include "engine/constraint.h"
#include "server/constrained/grammar_test_support.h"
#include "server/constrained/tool_grammar.h"
#include "text/utf8.h"

namespace strata {
namespace {

/// Every byte, and words of letters, blanks, digits, punctuation and other scripts up to `size` tokens.
std::shared_ptr<const TokenTrie> synthetic_trie(std::int64_t size) {
  std::mt19937_64 random(1);
  std::set<std::string> words;
  for (int byte = 0; byte < 256; ++byte) words.insert(std::string(1, static_cast<char>(byte)));
  const std::string syntax = "\"\\{}[],: \n0123456789.-eE_";
  while (std::ssize(words) < size) {
    std::string word = random() % 2 ? " " : "";
    const auto length = 1 + random() % 9;
    const auto kind = random() % 100;
    for (std::uint64_t i = 0; i < length; ++i) {
      if (kind < 85) {
        word += static_cast<char>('a' + random() % 26);
      } else if (kind < 90) {
        word += syntax[random() % syntax.size()];
      } else {
        append_utf8(static_cast<char32_t>(0x400 + random() % 0x5000), word);
      }
    }
    words.insert(kind >= 98 ? word.substr(0, word.size() - 1) : word);
  }
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (const std::string& word : words) tokens.emplace_back(word, static_cast<TokenId>(tokens.size()));
  return std::make_shared<const TokenTrie>(std::move(tokens), size);
}

const std::vector<std::string> kPlaces = {"",
                                          "{",
                                          R"({"name": ")",
                                          R"({"name": "some \)",
                                          R"({"name":"é)",
                                          R"({"name":"x", "age": 1)",
                                          R"({"name":"x", "age": 1, "more)",
                                          R"({"name":"x","tags":[")",
                                          R"({"name":"x","tags":["a"], "any": {"k": [nu)",
                                          R"({"name":"x","tags":["abcdefghi)",
                                          "{\"name\":\"\xC3"};

std::shared_ptr<CompiledGrammar> person(std::shared_ptr<const TokenTrie> trie) {
  return std::make_shared<CompiledGrammar>(
      compile_json_schema(parse_json(R"({"type":"object","properties":{"name":{"type":"string"},
          "age":{"type":"integer","minimum":0,"maximum":150},
          "tags":{"type":"array","items":{"type":"string","maxLength":10},"maxItems":3}},"required":["name"]})",
                                     "schema")),
      std::move(trie));
}

std::vector<std::uint32_t> mask_of(const CompiledGrammar& grammar, const std::string& text) {
  GrammarState state(grammar.grammar());
  EXPECT_TRUE(state.advance(text)) << text;
  std::vector<std::uint32_t> mask(mask_words(grammar.trie().vocab_size()));
  grammar.allow(state, mask);
  return mask;
}

/// What allow_tokens must find, by trying every token.
std::vector<std::uint32_t> tried_one_by_one(const GrammarState& state, const TokenTrie& trie) {
  std::vector<std::uint32_t> mask(mask_words(trie.vocab_size()));
  for (TokenId token = 0; token < trie.vocab_size(); ++token) {
    const std::string_view bytes = trie.bytes(token);
    if (!bytes.empty() && GrammarState(state).advance(bytes))
      mask[static_cast<std::size_t>(token) / 32] |= 1u << (token % 32);
  }
  return mask;
}

TEST(Masks, HaveTheTokensThatCanBeTakenAndNoOthers) {
  for (const auto& trie : {std::make_shared<const TokenTrie>(demo_tokenizer()), synthetic_trie(3000)}) {
    const auto grammar = person(trie);
    for (const std::string& text : kPlaces) {
      GrammarState state(grammar->grammar());
      ASSERT_TRUE(state.advance(text)) << text;
      const std::vector<std::uint32_t> expected = tried_one_by_one(state, *trie);
      EXPECT_EQ(mask_of(*grammar, text), expected) << text;
      EXPECT_EQ(mask_of(*grammar, text), expected) << "from the cache: " << text;
    }
  }
}

TEST(Masks, AreRightOnRandomWalks) {
  const Json tools = Json::parse(R"([{"type":"function","function":{"name":"f","parameters":{"type":"object",
      "properties":{"text":{"type":"string"},"short":{"type":"string","maxLength":3},"n":{"type":"number"}}}}}])");
  std::vector<std::shared_ptr<const Grammar>> grammars = {shared(compile_tool_calls(tools, std::nullopt))};
  for (const char* schema : {
           R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string","minLength":2,"maxLength":9}},
               "additionalProperties":{"type":"string"}})",
           R"({"type":"array","items":{"anyOf":[{"type":"string","maxLength":5},{"type":"string"},{"const":"x\"y"}]}})",
           R"({"type":["string","null"]})", R"({})"}) {
    grammars.push_back(schema_grammar(schema));
  }
  std::mt19937_64 random(3);
  for (const auto& trie : {std::make_shared<const TokenTrie>(demo_tokenizer()), synthetic_trie(1500)}) {
    for (const auto& grammar : grammars) {
      for (int walk = 0; walk < 4; ++walk) {
        GrammarState state(grammar);
        for (int step = 0; step < 25; ++step) {
          std::vector<std::uint32_t> mask(mask_words(trie->vocab_size()));
          const std::size_t frames = state.automaton().frames();
          allow_tokens(state, *trie, mask);
          EXPECT_EQ(state.automaton().frames(), frames);
          ASSERT_EQ(mask, tried_one_by_one(state, *trie));
          // Tokens that are no plain words are few, and lead to more places.
          std::vector<TokenId> allowed, special;
          for (TokenId token = 0; token < trie->vocab_size(); ++token) {
            if ((mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1) == 0) continue;
            allowed.push_back(token);
            if (trie->bytes(token).find_first_of("\"\\\n<") != std::string_view::npos) special.push_back(token);
          }
          if (allowed.empty()) break;
          const auto& from = !special.empty() && random() % 3 == 0 ? special : allowed;
          ASSERT_TRUE(state.advance(trie->bytes(from[random() % from.size()])));
        }
      }
    }
  }
}

TEST(Masks, AreFoundAgainWhereTheSameMayFollow) {
  const auto grammar = person(std::make_shared<const TokenTrie>(demo_tokenizer()));
  const auto mask = mask_of(*grammar, R"({"name":"a)");
  EXPECT_EQ(mask_of(*grammar, R"({ "name": "another name)"), mask);
  EXPECT_EQ(grammar->masks_computed(), 1);
  mask_of(*grammar, R"({"name":"a","tags":["a)");
  mask_of(*grammar, R"({"name":"a","tags":["ab)");
  EXPECT_EQ(grammar->masks_computed(), 3) << "characters that are left are counted";
}

TEST(Masks, AddedTokensAreNeverText) {
  const auto mask = mask_of(*person(std::make_shared<const TokenTrie>(demo_tokenizer())), R"({"name": ")");
  EXPECT_EQ(mask[0], 0u) << "the first 32 tokens are marks";
  EXPECT_GT(std::popcount(mask[10]), 16);
}

TEST(Masks, TakeMicroseconds) {
  for (const auto& trie : {std::make_shared<const TokenTrie>(demo_tokenizer()), synthetic_trie(131072)}) {
    for (const std::string& text : kPlaces) {
      const auto grammar = person(trie);
      GrammarState state(grammar->grammar());
      ASSERT_TRUE(state.advance(text));
      std::vector<std::uint32_t> mask(mask_words(trie->vocab_size()));
      using Clock = std::chrono::steady_clock;
      const auto start = Clock::now();
      allow_tokens(state, *trie, mask);
      const auto computed = Clock::now();
      grammar->allow(state, mask);
      const auto filled = Clock::now();
      grammar->allow(state, mask);
      const auto found = Clock::now();
      const auto us = [](auto span) { return std::chrono::duration<double, std::micro>(span).count(); };
      std::printf("  %6ld tokens: computed in %7.1f us, found in %5.2f us, after %s\n", long(trie->vocab_size()),
                  us(computed - start), us(found - filled), text.c_str());
      EXPECT_LT(us(computed - start), 1e5) << text;
      EXPECT_EQ(grammar->masks_computed(), 1);
    }
  }
}

TEST(GrammarState, StaysSmallHoweverLongTheText) {
  GrammarState state(schema_grammar(R"({"type":"array","items":{"type":"string","maxLength":100000}})"));
  ASSERT_TRUE(state.advance("["));
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(state.advance("\"" + std::string(1000, 'x') + "\", "));
  EXPECT_LT(state.automaton().frames(), 6000u);
  ASSERT_TRUE(state.advance("\"\"]"));
  EXPECT_TRUE(state.can_end());
}

TEST(GrammarState, OverlappingAlternativesAreFollowedTogether) {
  Json schema = {{"anyOf", Json::array()}};
  for (int i = 0; i < 40; ++i)
    schema["anyOf"].push_back({{"type", "object"},
                               {"properties", {{"a", {{"type", "integer"}}}, {"k" + std::to_string(i), true}}},
                               {"required", {"a", "k" + std::to_string(i)}},
                               {"additionalProperties", false}});
  const auto grammar = shared(compile_json_schema(schema));
  EXPECT_TRUE(accepts(grammar, R"({"a":17,"k0":[]})"));
  EXPECT_TRUE(accepts(grammar, R"({"a":17,"k39":"x"})"));
  EXPECT_FALSE(accepts(grammar, R"({"a":17,"k40":"x"})"));
}

}  // namespace
}  // namespace strata
