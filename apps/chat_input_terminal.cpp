#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>

#include "apps/chat_input.h"
#include "apps/chat_input_display.h"
#include "text/utf8.h"

namespace strata {
namespace {

termios g_cooked;

void restore_and_die(int signal) {
  tcsetattr(STDIN_FILENO, TCSANOW, &g_cooked);
  ::signal(signal, SIG_DFL);
  raise(signal);
}

void say(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// The terminal gives every key as it is pressed while one lives, and marks what is pasted.
class RawMode {
 public:
  RawMode() {
    tcgetattr(STDIN_FILENO, &g_cooked);
    enter();
    for (const int s : {SIGTERM, SIGHUP}) signal(s, restore_and_die);
  }
  ~RawMode() {
    leave();
    for (const int s : {SIGTERM, SIGHUP}) signal(s, SIG_DFL);
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

  void suspend() {
    leave();
    raise(SIGTSTP);
    enter();
  }

 private:
  static void enter() {
    termios raw = g_cooked;
    raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IGNCR | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    say("\033[?2004h");
  }
  static void leave() {
    say("\033[?2004l");
    tcsetattr(STDIN_FILENO, TCSADRAIN, &g_cooked);
  }
};

int terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

/// The next byte from the terminal; -1 at its end.
int read_byte() {
  unsigned char byte;
  while (true) {
    const ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n == 1) return byte;
    if (n < 0 && errno == EINTR) continue;
    return -1;
  }
}

constexpr int kAlt = 0x1000;  // added to a key that came after an escape

enum Key : int { kUp = 0x2000, kDown, kRight, kLeft, kHome, kEnd, kDelete, kWordLeft, kWordRight, kPaste, kUnknown };

/// What follows an escape: "[A", "OA", "[3~", "[1;5C", "[200~", or a key pressed with Alt.
int read_escape() {
  const int kind = read_byte();
  if (kind != '[' && kind != 'O') return kind < 0 ? -1 : kAlt + kind;
  std::string parameters;
  int last = read_byte();
  while ((last >= '0' && last <= '9') || last == ';') {
    parameters += static_cast<char>(last);
    last = read_byte();
  }
  const bool modified = parameters.find(';') != std::string::npos;
  switch (last) {
    case 'A':
      return kUp;
    case 'B':
      return kDown;
    case 'C':
      return modified ? kWordRight : kRight;
    case 'D':
      return modified ? kWordLeft : kLeft;
    case 'H':
      return kHome;
    case 'F':
      return kEnd;
    case '~':
      if (parameters == "3") return kDelete;
      if (parameters == "1" || parameters == "7") return kHome;
      if (parameters == "4" || parameters == "8") return kEnd;
      if (parameters == "200") return kPaste;
      return kUnknown;
    default:
      return last < 0 ? -1 : kUnknown;
  }
}

/// What is pasted, up to the mark of its end.
std::string read_paste() {
  static constexpr std::string_view kEndOfPaste = "\033[201~";
  std::string text;
  for (int c = read_byte(); c >= 0; c = read_byte()) {
    text += c == '\r' ? '\n' : static_cast<char>(c);
    if (text.ends_with(kEndOfPaste)) {
      text.resize(text.size() - kEndOfPaste.size());
      break;
    }
  }
  return replace_invalid_utf8(text);
}

/// The character that begins with `first`.
std::string read_character(int first) {
  std::string text(1, static_cast<char>(first));
  while (read_utf8(text).kind == Utf8Char::Kind::incomplete) {
    const int next = read_byte();
    if (next < 0) break;
    text += static_cast<char>(next);
  }
  return replace_invalid_utf8(text);
}

constexpr int control(char letter) { return letter & 0x1f; }

/// Keys that move or erase; false for all others.
bool edit(LineBuffer& buffer, int key) {
  switch (key) {
    case kLeft:
    case control('B'):
      buffer.left();
      return true;
    case kRight:
    case control('F'):
      buffer.right();
      return true;
    case kHome:
    case control('A'):
      buffer.home();
      return true;
    case kEnd:
    case control('E'):
      buffer.end();
      return true;
    case kWordLeft:
    case kAlt + 'b':
      buffer.word_left();
      return true;
    case kWordRight:
    case kAlt + 'f':
      buffer.word_right();
      return true;
    case control('H'):
    case 0x7f:
      buffer.erase_before();
      return true;
    case kDelete:
    case control('D'):
      buffer.erase_after();
      return true;
    case control('W'):
    case kAlt + 0x7f:
      buffer.erase_word();
      return true;
    case control('U'):
      buffer.erase_to_home();
      return true;
    case control('K'):
      buffer.erase_to_end();
      return true;
    default:
      return false;
  }
}

/// Where in the history one is; what was being typed stays reachable below its end.
class HistoryWalk {
 public:
  explicit HistoryWalk(const std::vector<std::string>& lines) : lines_(lines), at_(lines.size()) {}
  void up(LineBuffer& buffer) {
    if (at_ == 0) return;
    if (at_ == lines_.size()) typed_ = buffer.text();
    buffer.set(lines_[--at_]);
  }
  void down(LineBuffer& buffer) {
    if (at_ == lines_.size()) return;
    ++at_;
    buffer.set(at_ == lines_.size() ? typed_ : lines_[at_]);
  }

 private:
  const std::vector<std::string>& lines_;
  std::size_t at_;
  std::string typed_;
};

}  // namespace

InputLine read_line(std::string_view prompt, const InputHistory& history) {
  RawMode raw;
  InputDisplay display;
  LineBuffer buffer;
  HistoryWalk walk(history.lines());
  const auto finish = [&](InputLine::End end) {
    buffer.end();
    say(display.draw(prompt, buffer.text(), buffer.cursor(), terminal_columns()) + display.leave());
    return InputLine{end, buffer.text()};
  };
  while (true) {
    say(display.draw(prompt, buffer.text(), buffer.cursor(), terminal_columns()));
    int key = read_byte();
    if (key == 0x1b) key = read_escape();
    if (key < 0) return finish(InputLine::End::end_of_input);
    if (key == '\r' || key == '\n') return finish(InputLine::End::enter);
    if (key == control('C')) return finish(InputLine::End::interrupt);
    if (key == control('D') && buffer.text().empty()) return finish(InputLine::End::end_of_input);
    if (edit(buffer, key)) continue;
    if (key == kUp || key == control('P')) {
      walk.up(buffer);
    } else if (key == kDown || key == control('N')) {
      walk.down(buffer);
    } else if (key == kAlt + '\r' || key == kAlt + '\n') {
      buffer.insert("\n");
    } else if (key == kPaste) {
      buffer.insert(read_paste());
    } else if (key == control('L')) {
      say("\033[H\033[2J");
      display = InputDisplay();
    } else if (key == control('Z')) {
      say(display.leave());
      raw.suspend();
    } else if (key == '\t' || (key >= 0x20 && key < 0x100)) {
      buffer.insert(key == '\t' ? std::string("  ") : read_character(key));
    }
  }
}

}  // namespace strata
