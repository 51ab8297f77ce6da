// Splits as Hugging Face's documentation and its own examples show them, and what hostile patterns do.
#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace strata {
namespace {

using Words = std::vector<std::string>;

Json split_json(const Json& pattern, const std::string& behavior, bool invert = false) {
  const Json split = {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}};
}

Words words(const Json& json, const std::string& text) {
  const PreTokenizer pre_tokenizer = PreTokenizer::parse(json, "test");
  Words result;
  PreTokenizer::Splitter(pre_tokenizer).split(text, [&](PreTokenizer::Word word) {
    result.push_back(text.substr(word.begin, word.end - word.begin));
  });
  return result;
}

Words split(const std::string& regex, const std::string& behavior, bool invert, const std::string& text) {
  return words(split_json({{"Regex", regex}}, behavior, invert), text);
}

TEST(PreTokenizer, BehaviorsSayWhereTheMatchesGo) {
  const std::string text = "the-final--countdown";
  EXPECT_EQ(split("-", "Removed", false, text), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(split("-", "Isolated", false, text), (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split("-", "MergedWithPrevious", false, text), (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split("-", "MergedWithNext", false, text), (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split("-", "Contiguous", false, text), (Words{"the", "-", "final", "--", "countdown"}));
}

TEST(PreTokenizer, InvertTreatsTheRestAsTheMatches) {
  const std::string text = "How are you doing?";
  const std::string word = R"(\w+|[^\w\s]+)";
  EXPECT_EQ(split(word, "Removed", true, text), (Words{"How", "are", "you", "doing", "?"}));
  EXPECT_EQ(split(word, "Isolated", true, text), (Words{"How", " ", "are", " ", "you", " ", "doing", "?"}));
  EXPECT_EQ(split(word, "MergedWithPrevious", true, text), (Words{"How ", "are ", "you ", "doing", "?"}));
  EXPECT_EQ(split(word, "MergedWithNext", true, text), (Words{"How", " are", " you", " doing", "?"}));
  EXPECT_EQ(split(word, "Contiguous", true, text), (Words{"How", " ", "are", " ", "you", " ", "doing?"}));
}

TEST(PreTokenizer, StringPatternsAreTakenLiterally) {
  EXPECT_EQ(words(split_json({{"String", ".*"}}, "Removed"), "a.*b.c"), (Words{"a", "b.c"}));
}

TEST(PreTokenizer, ByteLevelSplitsByGpt2sPattern) {
  const Json json = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_EQ(words(json, "Hello there       dear, you're 12"),
            (Words{"Hello", " there", "      ", " dear", ",", " you", "'re", " 12"}));
}

TEST(PreTokenizer, DigitsStandAloneOrTogether) {
  const auto digits = [](bool individual) -> Json {
    return {
        {"type", "Sequence"},
        {"pretokenizers", Json::array({{{"type", "Digits"}, {"individual_digits", individual}},
                                       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}})}};
  };
  EXPECT_EQ(words(digits(true), "a123b"), (Words{"a", "1", "2", "3", "b"}));
  EXPECT_EQ(words(digits(false), "a123b"), (Words{"a", "123", "b"}));
}

TEST(PreTokenizer, EmptyMatchesSplitButAreNoWords) {
  EXPECT_EQ(split("(?=b)", "Isolated", false, "abab"), (Words{"a", "ba", "b"}));
  EXPECT_EQ(split("x*", "Isolated", false, "a\xC3\xA9x"), (Words{"a", "\xC3\xA9", "x"}));
  EXPECT_EQ(split("", "Isolated", false, ""), Words{});
}

TEST(PreTokenizer, CatastrophicPatternsEndInAnError) {
  for (const char* pattern : {"((a|b|ab)*)*[cd]", "(a*)*[cd]", "(?:a|a)+[cd]"})
    EXPECT_THROW(split(pattern, "Isolated", false, std::string(40, 'a')), Error) << pattern;
}

TEST(PreTokenizer, PatternsThatOnigurumaReadsOtherwiseAreRefused) {
  for (const char* pattern : {"[", "(", "[a&&b]", "[a[b]]", R"(\h)", R"(\b)", "a{1,3}+", "(?m:a)", "(?i)a", "(*UTF)a",
                              R"(\C)", R"(\Qa)", "(?R)", R"(\u12)", "a{,3}"})
    EXPECT_THROW(split(pattern, "Isolated", false, "a"), Error) << pattern;
}

TEST(PreTokenizer, SpacesAreThoseOfUnicode) {
  for (const char* space : {"\u0085", "\u00A0", "\u3000", "\v"})
    EXPECT_EQ(split(R"(\s)", "Removed", false, std::string("a") + space + "b"), (Words{"a", "b"}));
  for (const char* other : {"\u180E", "\u200B", "\uFEFF"})
    EXPECT_EQ(split(R"([^\s]+)", "Isolated", false, std::string("a") + other + "b").size(), 1u);
}

}  // namespace
}  // namespace strata
