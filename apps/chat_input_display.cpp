#include "apps/chat_input_display.h"

#include <utf8proc.h>

#include "text/utf8.h"

namespace strata {

int character_width(std::string_view text) {
  const Utf8Char c = read_utf8(text);
  if (c.kind != Utf8Char::Kind::valid || c.codepoint < 0x20 || c.codepoint == 0x7f) return 1;
  return utf8proc_charwidth(static_cast<utf8proc_int32_t>(c.codepoint));
}

std::string InputDisplay::draw(std::string_view prompt, std::string_view text, std::size_t cursor, int columns) {
  std::string out;
  if (cursor_row_ > 0) out += "\033[" + std::to_string(cursor_row_) + "A";
  out += "\r\033[J";
  int row = 0, column = 0, cursor_row = 0, cursor_column = 0;
  const auto next_row = [&] {
    out += "\r\n";
    ++row;
    column = 0;
  };
  const auto put = [&](std::string_view part, bool has_cursor) {
    for (std::size_t at = 0; at < part.size();) {
      const Utf8Char c = read_utf8(part.substr(at));
      const int width = character_width(part.substr(at));
      const bool line_end = part[at] == '\n';
      if (!line_end && column + width > columns) next_row();
      if (has_cursor && at == cursor) {
        cursor_row = row;
        cursor_column = column;
      }
      if (line_end) {
        next_row();
      } else {
        const bool control = c.kind != Utf8Char::Kind::valid || c.codepoint < 0x20 || c.codepoint == 0x7f;
        out += control ? "?" : std::string(part.substr(at, c.bytes));
        column += width;
      }
      at += c.bytes;
    }
  };
  put(prompt, false);
  put(text, true);
  if (cursor >= text.size()) {
    if (column == columns) next_row();
    cursor_row = row;
    cursor_column = column;
  }
  if (row > cursor_row) out += "\033[" + std::to_string(row - cursor_row) + "A";
  out += "\r";
  if (cursor_column > 0) out += "\033[" + std::to_string(cursor_column) + "C";
  cursor_row_ = cursor_row;
  rows_ = row + 1;
  return out;
}

std::string InputDisplay::leave() {
  std::string out;
  if (rows_ - 1 > cursor_row_) out += "\033[" + std::to_string(rows_ - 1 - cursor_row_) + "B";
  cursor_row_ = 0;
  rows_ = 1;
  return out + "\r\n";
}

}  // namespace strata
