#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace strata {
namespace {

constexpr bool is_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/// The byte of each code point below U+0144, -1 for none.
constexpr std::array<int, 0x144> bytes_of_codepoints() {
  std::array<int, 0x144> table{};
  table.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) table[is_itself(byte) ? byte : next++] = byte;
  return table;
}

constexpr auto kBytes = bytes_of_codepoints();

}  // namespace

std::optional<std::string> bytes_of_byte_level(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const Utf8Char next = read_utf8(token);
    if (next.kind != Utf8Char::Kind::valid || next.codepoint >= kBytes.size() || kBytes[next.codepoint] < 0)
      return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[next.codepoint]));
    token.remove_prefix(next.bytes);
  }
  return bytes;
}

}  // namespace strata
