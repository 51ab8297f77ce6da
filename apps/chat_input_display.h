// A line of input on a terminal's rows.
#pragma once

#include <string>
#include <string_view>

namespace strata {

/// Columns of the first character of `text`: 0 for a combining mark, 2 for a wide one, 1 for what is shown as `?`.
int character_width(std::string_view text);

/// Draws prompt and text over as many rows as they need, again and again in the same place.
class InputDisplay {
 public:
  /// What to write so that prompt, text and cursor (a byte of the text) are shown on a terminal of so many columns.
  std::string draw(std::string_view prompt, std::string_view text, std::size_t cursor, int columns);
  /// What to write to go to the start of the row below all of it. The next draw begins there.
  std::string leave();

 private:
  int cursor_row_ = 0, rows_ = 1;  // as drawn
};

}  // namespace strata
