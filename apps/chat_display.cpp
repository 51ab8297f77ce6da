#include "apps/chat_display.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "apps/progress.h"

namespace strata {

AnswerDisplay::AnswerDisplay() : dims_(shows_colours(STDERR_FILENO)), terminal_(isatty(STDOUT_FILENO) == 1) {}

void AnswerDisplay::show(AnswerPart part, std::string_view text) {
  if (part == AnswerPart::reasoning) {
    if (!in_reasoning_ && !dims_) std::fputs("<think>\n", stderr);
    in_reasoning_ = true;
    const std::string shown = isatty(STDERR_FILENO) ? without_controls(text) : std::string(text);
    std::fprintf(stderr, dims_ ? "\033[2m%s\033[0m" : "%s", shown.c_str());
    return;
  }
  end_reasoning();
  if (terminal_) {
    std::cout << without_controls(text);
  } else {
    std::cout << text;
  }
  std::cout.flush();
  line_open_ = !text.ends_with('\n');
}

void AnswerDisplay::end_reasoning() {
  if (!in_reasoning_) return;
  in_reasoning_ = false;
  std::fputs(dims_ ? "\n\n" : "\n</think>\n", stderr);
}

void AnswerDisplay::finish() {
  end_reasoning();
  if (line_open_) std::cout << std::endl;
  line_open_ = false;
}

}  // namespace strata
