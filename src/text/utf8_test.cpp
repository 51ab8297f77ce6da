// UTF-8 against Unicode's tables of what is well-formed.
#include "text/utf8.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

TEST(Utf8, AllCharactersReadAsTheyWereWritten) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    const Utf8Char read = read_utf8(text);
    ASSERT_TRUE(read.kind == Utf8Char::Kind::valid && read.codepoint == c && read.bytes == text.size());
  }
}

TEST(Utf8, MaximalInvalidPartsAreReplacedByOneCharacter) {
  const std::string r(kReplacementCharacter);
  // Unicode, table 3-8 and those before it.
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("valid \xE2\x82\xAC"), "valid \xE2\x82\xAC");
}

TEST(Utf8, TheValidPrefixEndsAtTheFirstInvalidByte) {
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
  EXPECT_EQ(valid_utf8_prefix("0123456789\xE2\x82\xAC\xFF"), 13u);
  EXPECT_EQ(valid_utf8_prefix("0123456\xE2\x82"), 7u);
}

}  // namespace
}  // namespace strata
