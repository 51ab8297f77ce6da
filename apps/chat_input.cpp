#include "apps/chat_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "apps/chat_input_display.h"
#include "text/utf8.h"

namespace strata {
namespace {

constexpr std::size_t kMostHistory = 1000;

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// One entry a line of the file.
std::string escaped(const std::string& line) {
  std::string out;
  for (char c : line) out += c == '\n' ? "\\n" : c == '\\' ? "\\\\" : std::string(1, c);
  return out;
}

std::string unescaped(const std::string& line) {
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      out += line[i];
    } else {
      ++i;
      out += line[i] == 'n' ? '\n' : line[i];
    }
  }
  return out;
}

}  // namespace

std::size_t LineBuffer::before(std::size_t at) const {
  while (at > 0) {
    --at;
    if (continues(text_[at])) continue;
    if (at == 0 || character_width(std::string_view(text_).substr(at)) > 0) break;
  }
  return at;
}

std::size_t LineBuffer::after(std::size_t at) const {
  if (at == text_.size()) return at;
  do {
    ++at;
  } while (at < text_.size() && (continues(text_[at]) || character_width(std::string_view(text_).substr(at)) == 0));
  return at;
}

void LineBuffer::insert(std::string_view text) {
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

void LineBuffer::word_left() {
  while (cursor_ > 0 && text_[cursor_ - 1] == ' ') --cursor_;
  while (cursor_ > 0 && text_[cursor_ - 1] != ' ') --cursor_;
}

void LineBuffer::word_right() {
  while (cursor_ < text_.size() && text_[cursor_] == ' ') ++cursor_;
  while (cursor_ < text_.size() && text_[cursor_] != ' ') ++cursor_;
}

void LineBuffer::erase_before() {
  const std::size_t from = before(cursor_);
  text_.erase(from, cursor_ - from);
  cursor_ = from;
}

void LineBuffer::erase_after() { text_.erase(cursor_, after(cursor_) - cursor_); }

void LineBuffer::erase_word() {
  const std::size_t to = cursor_;
  word_left();
  text_.erase(cursor_, to - cursor_);
}

void LineBuffer::erase_to_home() {
  text_.erase(0, cursor_);
  cursor_ = 0;
}

std::filesystem::path InputHistory::default_file() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state && *state) {
    return std::filesystem::path(state) / "strata" / "history";
  }
  if (const char* home = std::getenv("HOME"); home && *home) {
    return std::filesystem::path(home) / ".local" / "state" / "strata" / "history";
  }
  return {};
}

InputHistory::InputHistory(std::filesystem::path file) : file_(std::move(file)) {
  std::ifstream in(file_);
  for (std::string line; std::getline(in, line);) lines_.push_back(unescaped(line));
  if (lines_.size() > kMostHistory) lines_.erase(lines_.begin(), lines_.end() - kMostHistory);
}

void InputHistory::add(const std::string& line) {
  if (line.empty() || (!lines_.empty() && lines_.back() == line)) return;
  lines_.push_back(line);
  if (file_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(file_.parent_path(), error);
  const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const std::string text = escaped(line) + "\n";
  [[maybe_unused]] const ssize_t written = write(fd, text.data(), text.size());
  close(fd);
}

}  // namespace strata
