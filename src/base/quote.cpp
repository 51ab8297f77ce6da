// Makes foreign names fit for one line of a message.
#include "base/quote.h"

namespace strata {

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMaxBytes = 120;
  std::size_t size = text.size();
  if (size > kMaxBytes) {
    size = kMaxBytes;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  }
  std::string out = "\"";
  for (const char c : text.substr(0, size)) out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) ? '?' : c;
  out += size < text.size() ? "...\"" : "\"";
  return out;
}

}  // namespace strata
