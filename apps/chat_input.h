// Lines typed at a terminal, with editing and history.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

/// What was typed, by what its last key was.
struct InputLine {
  enum class End { enter, interrupt, end_of_input };  // Return, Ctrl+C, Ctrl+D on an empty line
  End end = End::enter;
  std::string text;
};

/// The text of a line while it is edited, and a place in it, in whole characters of UTF-8. A character's combining
/// marks go with it.
class LineBuffer {
 public:
  const std::string& text() const { return text_; }
  std::size_t cursor() const { return cursor_; }
  void set(std::string text) {
    text_ = std::move(text);
    cursor_ = text_.size();
  }
  void insert(std::string_view text);
  void left() { cursor_ = before(cursor_); }
  void right() { cursor_ = after(cursor_); }
  void home() { cursor_ = 0; }
  void end() { cursor_ = text_.size(); }
  void word_left();
  void word_right();
  void erase_before();                            // Backspace
  void erase_after();                             // Delete
  void erase_word();                              // Ctrl+W
  void erase_to_home();                           // Ctrl+U
  void erase_to_end() { text_.resize(cursor_); }  // Ctrl+K

 private:
  std::size_t before(std::size_t at) const;
  std::size_t after(std::size_t at) const;
  std::string text_;
  std::size_t cursor_ = 0;  // bytes
};

/// The lines of earlier chats. A file that can't be read or written is let be.
class InputHistory {
 public:
  /// $XDG_STATE_HOME or ~/.local/state, strata/history; empty if neither variable is set.
  static std::filesystem::path default_file();
  explicit InputHistory(std::filesystem::path file);
  /// Appends it to the file, which only its owner may read, unless it is what the last one was.
  void add(const std::string& line);
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::filesystem::path file_;
  std::vector<std::string> lines_;
};

/// Reads one line from the terminal on stdin; draws on stderr. Left, right, home, end, delete, up and down (history),
/// Ctrl+A B D E F K L N P U W Z, Alt+B and F, Alt+Return for a line end, pasted text as it is.
InputLine read_line(std::string_view prompt, const InputHistory& history);

}  // namespace strata
