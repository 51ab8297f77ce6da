#include "text/text_stream.h"

#include <string_view>
#include <utility>

#include "text/utf8.h"

namespace strata {

std::string TextStream::push(TokenId id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  held_ += tokenizer_.bytes(id);
  const std::string_view held = held_;
  // The last four bytes hold the begin of an incomplete character, if there is one.
  std::size_t whole = held.size();
  for (std::size_t back = 1; back <= 3 && back <= held.size(); ++back) {
    const std::string_view tail = held.substr(held.size() - back);
    if ((tail[0] & 0xC0) == 0x80) continue;
    const Utf8Char last = read_utf8(tail);
    if (last.kind == Utf8Char::Kind::incomplete && last.bytes == back) whole = held.size() - back;
    break;
  }
  std::string out = replace_invalid_utf8(held.substr(0, whole));
  held_.erase(0, whole);
  return out;
}

std::string TextStream::finish() { return replace_invalid_utf8(std::exchange(held_, {})); }

}  // namespace strata
