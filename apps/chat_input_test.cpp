#include "apps/chat_input.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "apps/chat_input_display.h"

namespace strata {
namespace {

TEST(LineBuffer, MovesAndErasesWholeCharacters) {
  LineBuffer line;
  line.insert("ae\u0301漢");  // an e with a combining accent, and a wide character
  line.left();
  EXPECT_EQ(line.cursor(), 4u);
  line.left();
  EXPECT_EQ(line.cursor(), 1u);
  line.right();
  EXPECT_EQ(line.cursor(), 4u);
  line.erase_before();
  EXPECT_EQ(line.text(), "a漢");
  line.erase_after();
  EXPECT_EQ(line.text(), "a");
  line.erase_after();
  line.erase_before();
  line.erase_before();
  EXPECT_EQ(line.text(), "");
}

TEST(LineBuffer, KnowsWordsAndEnds) {
  LineBuffer line;
  line.set("one two  three");
  line.word_left();
  line.word_left();
  EXPECT_EQ(line.cursor(), 4u);
  line.word_right();
  EXPECT_EQ(line.cursor(), 7u);
  line.erase_word();
  EXPECT_EQ(line.text(), "one   three");
  line.erase_to_home();
  EXPECT_EQ(line.text(), "  three");
  line.erase_to_end();
  EXPECT_EQ(line.text(), "");
}

TEST(InputDisplay, WrapsAndComesBackToItsFirstRow) {
  InputDisplay display;
  EXPECT_EQ(display.draw("> ", "abc", 3, 5), "\r\033[J> abc\r\n\r");
  EXPECT_EQ(display.draw("> ", "abcd", 1, 5), "\033[1A\r\033[J> abc\r\nd\033[1A\r\033[3C");
  EXPECT_EQ(display.leave(), "\033[1B\r\n");
  EXPECT_EQ(display.draw("> ", "a\nb", 3, 80), "\r\033[J> a\r\nb\r\033[1C");
  EXPECT_EQ(display.draw("> ", "a\033[", 2, 80), "\033[1A\r\033[J> a?[\r\033[4C");
}

TEST(InputDisplay, AWideCharacterIsNotCutInTwo) {
  InputDisplay display;
  EXPECT_EQ(display.draw("> ", "ab漢", 0, 5), "\r\033[J> ab\r\n漢\033[1A\r\033[2C");
}

TEST(InputHistory, OutlivesTheChatInAFileOfItsOwner) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("strata_history_" + std::to_string(getpid()));
  std::filesystem::remove_all(folder);
  const auto file = folder / "state" / "history";
  {
    InputHistory history(file);
    EXPECT_TRUE(history.lines().empty());
    history.add("one\ntwo \\n");
    history.add("one\ntwo \\n");
    history.add("");
    history.add("three");
  }
  EXPECT_EQ(InputHistory(file).lines(), (std::vector<std::string>{"one\ntwo \\n", "three"}));
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace strata
