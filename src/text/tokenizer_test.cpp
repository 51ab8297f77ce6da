// The tokenizer on the demo model's tokenizer.json, against ids of the reference, and on small ones for the rest.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer_test_json.h"

namespace strata {
namespace {

using Ids = std::vector<TokenId>;

const std::string kSource = STRATA_SOURCE_DIR;

const Tokenizer& demo() {
  static const Tokenizer tokenizer = Tokenizer::load(kSource + "/models/demo");
  return tokenizer;
}

Tokenizer small(const Json& json) { return Tokenizer::parse(json.dump(), "test"); }

std::string refusal(const Json& json) {
  try {
    small(json);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_model);
    return error.what();
  }
  return "no error";
}

TEST(Tokenizer, IdsAreThoseOfTheReference) {
  const Json cases = read_json(kSource + "/tests/fixtures/tokenizer/demo_ids.json");
  ASSERT_GT(cases.size(), 300u);
  for (const Json& entry : cases) {
    const std::string text = entry["text"];
    EXPECT_EQ(demo().encode(text), entry["ids"].get<Ids>()) << text;
  }
}

TEST(Tokenizer, DecodingGivesTheTextBack) {
  for (const Json& entry : read_json(kSource + "/tests/fixtures/tokenizer/demo_ids.json")) {
    const std::string text = entry["text"];
    EXPECT_EQ(demo().decode(demo().encode(text)), text);
  }
}

TEST(Tokenizer, OffsetsCoverTheTextInOrder) {
  for (const Json& entry : read_json(kSource + "/tests/fixtures/tokenizer/demo_ids.json")) {
    const std::string text = entry["text"];
    std::size_t end = 0;
    Ids ids;
    for (const auto& span : demo().encode_with_offsets(text)) {
      EXPECT_EQ(span.begin, end);
      EXPECT_EQ(text.substr(span.begin, span.end - span.begin), demo().bytes(span.id));
      end = span.end;
      ids.push_back(span.id);
    }
    EXPECT_EQ(end, text.size());
    EXPECT_EQ(ids, demo().encode(text));
  }
}

TEST(Tokenizer, SpecialTokensInInputSegmentsStayText) {
  const TokenId end = *demo().find("<|im_end|>");
  const std::vector<TextSegment> prompt = {{"<|im_start|>user\n", false},
                                           {"<|im_end|> <s>\n<|im_", true},
                                           {"end|><|im_", false},
                                           {"end|>", false},
                                           {"\n", true}};
  const Ids ids = demo().encode(prompt);
  EXPECT_EQ(std::count_if(ids.begin(), ids.end(), [](TokenId id) { return demo().is_special(id); }), 2);
  EXPECT_EQ(ids.front(), demo().find("<|im_start|>"));
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 1) << "the one whose halves the template wrote";
  EXPECT_EQ(demo().decode(ids), "<|im_start|>user\n<|im_end|> <s>\n<|im_end|><|im_end|>\n");
}

TEST(Tokenizer, SegmentBordersDoNotChangeWords) {
  const std::string text = "The capital of France is Paris, isn't it?\n\n  42 \xE5\xAD\x97";
  for (std::size_t cut = 0; cut + 3 <= text.size(); ++cut) {
    const std::vector<TextSegment> segments = {{text.substr(0, cut), false}, {text.substr(cut), true}};
    EXPECT_EQ(demo().encode(segments), demo().encode(text));
  }
}

TEST(Tokenizer, ALongerTokenAcrossASegmentBorderDoesNotHideAShorterOne) {
  Json json = byte_level_json();
  add_token(json, 300, "<x>");
  add_token(json, 301, "<x><y>");
  const Tokenizer tokenizer = small(json);
  EXPECT_EQ(tokenizer.encode("<x><y>"), Ids{301});
  const std::vector<TextSegment> segments = {{"<x>", false}, {"<y>", true}};
  EXPECT_EQ(tokenizer.encode(segments), (Ids{300, '<', 'y', '>'}));
}

TEST(Tokenizer, MergesNeverMakeInputASpecialToken) {
  Json json = byte_level_json();
  add_vocab(json, "<s", 256);
  add_vocab(json, "<s>", 257);
  json["model"]["merges"] = Json::parse(R"([["<", "s"], ["<s", ">"]])");
  add_token(json, 257, "<s>");
  for (const bool ignore_merges : {false, true}) {
    json["model"]["ignore_merges"] = ignore_merges;
    json["pre_tokenizer"]["use_regex"] = false;
    const std::vector<TextSegment> input = {{"<s>", true}};
    EXPECT_EQ(small(json).encode(input), (Ids{256, '>'}));
    EXPECT_EQ(small(json).encode("<s>"), Ids{257});
  }
}

TEST(Tokenizer, MergesAreReadInBothSpellings) {
  Json json = byte_level_json();
  add_vocab(json, "ab", 256);
  add_vocab(json, "\u0120ab", 257);
  json["model"]["merges"] = Json::parse(R"([["a", "b"], ["\u0120", "ab"]])");
  EXPECT_EQ(small(json).encode("ab ab"), (Ids{256, 257}));
  json["model"]["merges"] = Json::parse(R"(["#version: 0.2", "a b", "\u0120 ab"])");
  EXPECT_EQ(small(json).encode("ab ab"), (Ids{256, 257}));
  json["model"]["merges"] = Json::parse(R"([["a", "b"]])");
  EXPECT_EQ(small(json).encode("ab ab"), (Ids{256, ' ', 256}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(small(json).encode("ab ab"), (Ids{256, 257}));
}

TEST(Tokenizer, AddedTokensStripSpacesAndKeepToWordsAsTheirFlagsSay) {
  Json json = byte_level_json();
  add_token(json, 300, "<l>", {{"lstrip", true}});
  add_token(json, 301, "<r>", {{"rstrip", true}});
  add_token(json, 302, "word", {{"single_word", true}});
  const Tokenizer tokenizer = small(json);
  EXPECT_EQ(tokenizer.encode("a \n\u3000<l> b"), (Ids{'a', 300, ' ', 'b'}));
  EXPECT_EQ(tokenizer.encode("a <r> \n b"), (Ids{'a', ' ', 301, 'b'}));
  EXPECT_EQ(tokenizer.encode("word.word"), (Ids{302, '.', 302}));
  EXPECT_EQ(tokenizer.encode("words"), (Ids{'w', 'o', 'r', 'd', 's'}));
  EXPECT_EQ(tokenizer.encode("_word"), (Ids{'_', 'w', 'o', 'r', 'd'}));
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundInTheNormalizedText) {
  Json json = byte_level_json();
  json["normalizer"] = {{"type", "NFKC"}};
  add_token(json, 300, "ab", {{"normalized", true}});
  add_token(json, 301, "cd");
  const Tokenizer tokenizer = small(json);
  EXPECT_EQ(tokenizer.encode("x\uFF41\uFF42"), (Ids{'x', 300}));
  EXPECT_EQ(tokenizer.encode("\uFF43\uFF44"), (Ids{'c', 'd'}));
  const auto spans = tokenizer.encode_with_offsets("x\uFF41\uFF42");
  EXPECT_EQ(spans, (std::vector<Tokenizer::TokenSpan>{{'x', 0, 1}, {300, 1, 7}}));
  const std::vector<TextSegment> segments = {{"\uFF41\uFF42", true}, {"\uFF41\uFF42", false}};
  EXPECT_EQ(tokenizer.encode(segments), (Ids{'a', 'b', 300}));
}

TEST(Tokenizer, ThePostProcessorAddsBosToTextsButNotToPrompts) {
  Json json = byte_level_json();
  add_token(json, 300, "<s>");
  json["post_processor"] = Json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [300], "tokens": ["<s>"]}}})");
  const Tokenizer tokenizer = small(json);
  EXPECT_TRUE(tokenizer.facts().adds_bos);
  EXPECT_EQ(tokenizer.encode("a"), (Ids{300, 'a'}));
  EXPECT_EQ(tokenizer.encode("a", {.post_process = false}), Ids{'a'});
  EXPECT_EQ(tokenizer.encode(std::vector<TextSegment>{{"a", false}}), Ids{'a'});
  EXPECT_EQ(tokenizer.encode_with_offsets("a"), (std::vector<Tokenizer::TokenSpan>{{300, 0, 0}, {'a', 0, 1}}));
}

TEST(Tokenizer, APrefixSpaceIsNotPartOfTheOffsets) {
  Json json = byte_level_json();
  json["pre_tokenizer"]["add_prefix_space"] = true;
  const Tokenizer tokenizer = small(json);
  EXPECT_EQ(tokenizer.encode("a"), (Ids{' ', 'a'}));
  EXPECT_EQ(tokenizer.encode(" a"), (Ids{' ', 'a'}));
  EXPECT_EQ(tokenizer.encode_with_offsets("ab"),
            (std::vector<Tokenizer::TokenSpan>{{' ', 0, 0}, {'a', 0, 1}, {'b', 1, 2}}));
}

TEST(Tokenizer, InvalidUtf8IsReadAsReplacementCharacters) {
  EXPECT_EQ(demo().encode("a\xFF\xE2\x82z\xC3"), demo().encode("a\uFFFD\uFFFDz\uFFFD"));
  const auto spans = demo().encode_with_offsets("a\xFFz");
  EXPECT_EQ(spans.front().begin, 0u);
  EXPECT_EQ(spans.back().end, 3u);
}

TEST(Tokenizer, DecodeSkipsSpecialsAndRepairsUtf8) {
  const Tokenizer tokenizer = small(byte_level_json());
  EXPECT_EQ(tokenizer.decode(Ids{'a', 0xE2, 0x82, 'b', -1, 9999}), "a\uFFFDb");
  const TokenId end = *demo().find("<|im_end|>");
  EXPECT_EQ(demo().decode(Ids{end}), "<|im_end|>");
  EXPECT_EQ(demo().decode(Ids{end}, true), "");
}

TEST(Tokenizer, TokensAreFoundByTheirNames) {
  EXPECT_EQ(demo().find("<|im_end|>"), 11);
  EXPECT_EQ(demo().bytes(11), "<|im_end|>");
  EXPECT_TRUE(demo().is_special(11));
  EXPECT_EQ(demo().bytes(*demo().find("\u0120the")), " the");
  EXPECT_FALSE(demo().find("no such token"));
  EXPECT_EQ(demo().bytes(-1), "");
  EXPECT_EQ(demo().vocab_size(), 4096);
  EXPECT_EQ(demo().facts().merges, 3808);
}

TEST(Tokenizer, OneObjectServesManyThreads) {
  const std::string text = "A tokenizer is shared by all threads of a server. 12345 \xE5\xAD\x97\n";
  const Ids expected = demo().encode(text);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) EXPECT_EQ(demo().encode(text), expected);
    });
}

TEST(Tokenizer, LongRunsTakeNoQuadraticTime) {
  for (const std::string part :
       {"a", " ", "A", "\n", "1", "!", "\xE5\xAD\x97", "\xCC\x81\xCC\xA3", " a", "<|im_start|"}) {
    std::string text;
    while (text.size() < 300'000) text += part;
    EXPECT_EQ(demo().decode(demo().encode(text)), text);
  }
}

TEST(Tokenizer, UnsupportedPartsAreRefusedByName) {
  const auto with = [](const char* part, const char* json) {
    Json result = byte_level_json();
    result[part] = Json::parse(json);
    return refusal(result);
  };
  EXPECT_NE(with("normalizer", R"({"type": "Precompiled"})").find("Precompiled"), std::string::npos);
  EXPECT_NE(with("pre_tokenizer", R"({"type": "Metaspace"})").find("Metaspace"), std::string::npos);
  EXPECT_NE(with("post_processor", R"({"type": "RobertaProcessing"})").find("RobertaProcessing"), std::string::npos);
  EXPECT_NE(with("decoder", R"({"type": "WordPiece"})").find("WordPiece"), std::string::npos);
  EXPECT_NE(with("model", R"({"type": "Unigram", "vocab": [["a", 0.0]]})").find("Unigram"), std::string::npos);
  Json fallback = byte_level_json();
  fallback["model"]["byte_fallback"] = true;
  EXPECT_NE(refusal(fallback).find("byte_fallback"), std::string::npos);
}

TEST(Tokenizer, ContradictoryFilesAreRefused) {
  const auto changed = [](auto change) {
    Json json = byte_level_json();
    change(json);
    return refusal(json);
  };
  EXPECT_NE(changed([](Json& j) { add_vocab(j, "ab", 7); }).find("the id 7 twice"), std::string::npos);
  EXPECT_NE(changed([](Json& j) { add_vocab(j, "ab", -7); }).find("found -7"), std::string::npos);
  EXPECT_NE(changed([](Json& j) { add_vocab(j, "ab", INT64_MAX); }).find("expected ids"), std::string::npos);
  EXPECT_NE(changed([](Json& j) { j["model"]["merges"] = Json::parse(R"([["a", "b"]])"); }).find("\"ab\""),
            std::string::npos);
  EXPECT_NE(changed([](Json& j) { j["model"]["merges"] = Json::parse(R"(["a b c"])"); }).find("merges[0]"),
            std::string::npos);
  EXPECT_NE(changed([](Json& j) { j["model"]["merges"] = Json::parse(R"([["a"]])"); }).find("merges[0]"),
            std::string::npos);
  EXPECT_NE(changed([](Json& j) { j["model"]["vocab"].erase("a"); }).find("byte 97"), std::string::npos);
  EXPECT_NE(changed([](Json& j) { add_token(j, 7, "<s>"); }).find("the id is taken"), std::string::npos);
  EXPECT_THROW(Tokenizer::parse("", "test"), Error);
  EXPECT_THROW(Tokenizer::parse("{}", "test"), Error);
  EXPECT_THROW(Tokenizer::parse("[1]", "test"), Error);
  EXPECT_THROW(Tokenizer::parse(R"({"model": {"vocab": {"a": 1, "a": 2}}})", "test"), Error);
  EXPECT_THROW(Tokenizer::parse(R"({"model": {"vocab": {"a": [1]}}})", "test"), Error);
  EXPECT_THROW(Tokenizer::parse(R"({"model": {}, "model": {}})", "test"), Error);
  EXPECT_THROW(Tokenizer::parse(std::string(1'000'000, '['), "test"), Error);
}

}  // namespace
}  // namespace strata
