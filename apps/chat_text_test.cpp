#include "apps/chat_text.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

const Tokenizer& demo() {
  static const Tokenizer tokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  return tokenizer;
}

struct Shown {
  std::string reasoning, content;
  bool stopped;
};

/// What is shown of `text`, after a prompt that ends in `prompt`; each in the tokenizer's notation.
Shown show(const std::string& prompt, const std::string& text, std::vector<std::string> stops = {},
           bool verbatim = false) {
  Shown shown;
  AnswerText answer(demo(), demo().encode(prompt), std::move(stops), verbatim,
                    [&](AnswerPart part, std::string_view piece) {
                      EXPECT_FALSE(piece.empty());
                      (part == AnswerPart::reasoning ? shown.reasoning : shown.content) += piece;
                    });
  for (TokenId token : demo().encode(text)) answer.push(token);
  answer.finish();
  EXPECT_EQ(answer.reasoning(), shown.reasoning);
  EXPECT_EQ(answer.content(), shown.content);
  shown.stopped = answer.stopped();
  return shown;
}

TEST(AnswerText, SplitsAtTheEndOfThinking) {
  const Shown shown = show("<think>\n", "One.\n\nTwo.\n</think>\n\nIt is Paris.\n");
  EXPECT_EQ(shown.reasoning, "One.\n\nTwo.");
  EXPECT_EQ(shown.content, "It is Paris.\n");
}

TEST(AnswerText, ThinkingThatNeverEndsIsNoContent) {
  const Shown shown = show("<think>\n", "One. Two.\n");
  EXPECT_EQ(shown.reasoning, "One. Two.");
  EXPECT_EQ(shown.content, "");
}

TEST(AnswerText, StartsWithContentWhereThePromptHasClosedTheThinking) {
  EXPECT_EQ(show("<think></think>", "It is Paris.").content, "It is Paris.");
  EXPECT_EQ(show("<think>\nOld.\n</think>\nOld.", "It is Paris.").content, "It is Paris.");
}

TEST(AnswerText, ARepeatedOpeningIsLeftOut) {
  EXPECT_EQ(show("<think>\n", "<think>One.</think>Two.").reasoning, "One.");
  EXPECT_EQ(show("", "<think>One.</think>Two.").reasoning, "One.");
  EXPECT_EQ(show("", "<think>One.</think>Two.").content, "Two.");
}

TEST(AnswerText, StopsBeforeAStopString) {
  const Shown shown = show("", "The capital is Paris, in France.", {"nothing", "Paris, in", "France"});
  EXPECT_EQ(shown.content, "The capital is ");
  EXPECT_TRUE(shown.stopped);
  EXPECT_EQ(show("", "aaab", {"aab"}).content, "a");
  EXPECT_EQ(show("", "abab", {"abc"}).content, "abab");
  EXPECT_FALSE(show("", "abab", {"abc", ""}).stopped);
  EXPECT_FALSE(show("<think>", "Paris</think>London", {"Paris"}).stopped);
}

TEST(AnswerText, ACompletedTextIsLeftAsItIs) {
  EXPECT_EQ(show("<think>", "\n\nOne.</think>\nTwo.", {}, true).content, "\n\nOne.</think>\nTwo.");
}

TEST(WithoutControls, LeavesNothingThatCommandsATerminal) {
  EXPECT_EQ(without_controls("a\033[31mb\tc\n\r\x7f\xC2\x9Bz \xC2\xA0é"), "a[31mb\tc\nz \xC2\xA0é");
}

}  // namespace
}  // namespace strata
