// A piece of a rendered prompt, and who wrote it.
#pragma once

#include <string>

namespace strata {

/// Text from the chat template may hold special tokens; text from a request must never become one.
struct TextSegment {
  std::string text;
  bool from_input = false;

  friend bool operator==(const TextSegment&, const TextSegment&) = default;
};

}  // namespace strata
