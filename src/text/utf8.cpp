#include "text/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace strata {

Utf8Char read_utf8(std::string_view text) {
  using Kind = Utf8Char::Kind;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Kind::valid, 1, lead};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::invalid, 1, 0};

  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t codepoint = lead & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Kind::incomplete, i, 0};
    // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
    const unsigned char low = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i) < low || byte(i) > high) return {Kind::invalid, i, 0};
    codepoint = (codepoint << 6) | (byte(i) & 0x3F);
  }
  return {Kind::valid, length, codepoint};
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    // Eight bytes of ASCII at once: most text is little else.
    for (std::uint64_t word = 0; at + sizeof(word) <= text.size(); at += sizeof(word)) {
      std::memcpy(&word, text.data() + at, sizeof(word));
      if ((word & 0x8080808080808080) != 0) break;
    }
    if (at == text.size()) break;
    const Utf8Char next = read_utf8(text.substr(at));
    if (next.kind != Utf8Char::Kind::valid) break;
    at += next.bytes;
  }
  return at;
}

std::string replace_invalid_utf8(std::string_view text, Alignment* alignment) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    out += text.substr(0, valid);
    if (alignment != nullptr) alignment->add_copied(valid);
    text.remove_prefix(valid);
    if (text.empty()) break;
    const std::size_t invalid = read_utf8(text).bytes;
    out += kReplacementCharacter;
    if (alignment != nullptr) alignment->add_replaced(invalid, kReplacementCharacter.size());
    text.remove_prefix(invalid);
  }
  return out;
}

void append_utf8(char32_t codepoint, std::string& out) {
  const auto add = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (codepoint < 0x80) {
    add(codepoint);
  } else if (codepoint < 0x800) {
    add(0xC0 | codepoint >> 6);
    add(0x80 | (codepoint & 0x3F));
  } else if (codepoint < 0x10000) {
    add(0xE0 | codepoint >> 12);
    add(0x80 | (codepoint >> 6 & 0x3F));
    add(0x80 | (codepoint & 0x3F));
  } else {
    add(0xF0 | codepoint >> 18);
    add(0x80 | (codepoint >> 12 & 0x3F));
    add(0x80 | (codepoint >> 6 & 0x3F));
    add(0x80 | (codepoint & 0x3F));
  }
}

}  // namespace strata
