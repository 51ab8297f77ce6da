// An answer as it is written: the content on stdout, the thinking on stderr.
#pragma once

#include <string_view>

#include "apps/chat_text.h"

namespace strata {

/// The thinking is dimmed where stderr is a terminal, and between <think> and </think> where it isn't. Each piece is
/// flushed, so that both are in order where they go to one place.
class AnswerDisplay {
 public:
  AnswerDisplay();
  void show(AnswerPart part, std::string_view text);
  /// Ends the last line. The display is ready for another answer then.
  void finish();

 private:
  void end_reasoning();

  bool dims_, terminal_;
  bool in_reasoning_ = false, line_open_ = false;
};

}  // namespace strata
