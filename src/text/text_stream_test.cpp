// Characters whole, whatever tokens they come in.
#include "text/text_stream.h"

#include <gtest/gtest.h>

#include "text/tokenizer_test_json.h"
#include "text/utf8.h"

namespace strata {
namespace {

/// Each byte is a token, its own id; 300 is special.
const Tokenizer& bytes_tokenizer() {
  static const Tokenizer tokenizer = [] {
    Json json = byte_level_json();
    add_token(json, 300, "<end>");
    return Tokenizer::parse(json.dump(), "test");
  }();
  return tokenizer;
}

TEST(TextStream, AnIncompleteCharacterIsHeldBack) {
  TextStream stream(bytes_tokenizer());
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.push(0xAC), "\u20AC");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, WhatNeverCompletesBecomesAReplacementCharacter) {
  TextStream stream(bytes_tokenizer());
  stream.push(0xF0);
  EXPECT_EQ(stream.push('a'), "\uFFFDa");
  stream.push(0xF0);
  stream.push(0x9F);
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, SpecialTokensAreSkippedUnlessWanted) {
  EXPECT_EQ(TextStream(bytes_tokenizer()).push(300), "");
  EXPECT_EQ(TextStream(bytes_tokenizer(), false).push(300), "<end>");
}

TEST(TextStream, ThePiecesAddUpToTheDecodedText) {
  // All sequences of four of these bytes: leads, continuations and edges of the ranges of valid second bytes.
  const std::vector<TokenId> alphabet = {'a', 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC3, 0xE0, 0xED, 0xF0, 0xF4};
  for (const TokenId a : alphabet)
    for (const TokenId b : alphabet)
      for (const TokenId c : alphabet)
        for (const TokenId d : alphabet) {
          const std::vector<TokenId> ids = {a, b, c, d};
          TextStream stream(bytes_tokenizer());
          std::string text;
          for (const TokenId id : ids) {
            const std::string piece = stream.push(id);
            EXPECT_EQ(valid_utf8_prefix(piece), piece.size());
            text += piece;
          }
          text += stream.finish();
          EXPECT_EQ(text, bytes_tokenizer().decode(ids));
        }
}

}  // namespace
}  // namespace strata
