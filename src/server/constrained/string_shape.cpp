#include "server/constrained/string_shape.h"

#include <algorithm>
#include <string>

#include "text/utf8.h"

namespace strata {

Utf8Phase utf8_step(Utf8Phase phase, std::uint8_t byte) {
  using enum Utf8Phase;
  const auto between = [&](int first, int last, Utf8Phase next) {
    return byte >= first && byte <= last ? next : invalid;
  };
  switch (phase) {
    case ground:
      if (byte < 0x80) return ground;
      if (byte < 0xC2 || byte > 0xF4) return invalid;
      if (byte < 0xE0) return one;
      if (byte < 0xF0) return byte == 0xE0 ? after_e0 : byte == 0xED ? after_ed : two;
      return byte == 0xF0 ? after_f0 : byte == 0xF4 ? after_f4 : three;
    case one:
      return between(0x80, 0xBF, ground);
    case two:
      return between(0x80, 0xBF, one);
    case three:
      return between(0x80, 0xBF, two);
    case after_e0:
      return between(0xA0, 0xBF, one);
    case after_ed:
      return between(0x80, 0x9F, one);
    case after_f0:
      return between(0x90, 0xBF, two);
    case after_f4:
      return between(0x80, 0x8F, two);
    case invalid:
      break;
  }
  return invalid;
}

bool LengthCounter::take(std::uint32_t characters) {
  if (left < characters) return false;
  if (left != kUnlimited) left -= characters;
  needed -= std::min(needed, characters);
  return true;
}

LengthCounter LengthCounter::beyond(std::uint32_t longest) const {
  LengthCounter counter;
  counter.needed = std::min(needed, longest + 1);
  counter.left = left > longest ? kUnlimited : left;
  return counter;
}

namespace {

enum class Phase : std::uint8_t {
  start,
  character,  // in the string, the UTF-8 phase says where
  escape,
  hex1,
  hex2,
  hex2_of_d,  // \uD
  hex3,
  hex4,
  high3,  // of a high surrogate, which a low one must follow
  high4,
  low_backslash,
  low_u,
  low1,
  low2,
  low3,
  low4,
};

constexpr std::string_view kEscapes = "\"\\/bfnrt";
constexpr std::string_view kEscaped = "\"\\/\b\f\n\r\t";

int hex_digit(std::uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  const int letter = (byte | 0x20) - 'a';
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

}  // namespace

/// A state in parts. Strings that exclude words have a place among these and the code point of an escape, others have
/// counters.
struct StringShape::Parts {
  Phase phase = Phase::start;
  Utf8Phase utf8 = Utf8Phase::ground;
  LengthCounter length;
  ByteTrie::Node word = ByteTrie::kNone;
  char32_t codepoint = 0;
};

StringShape::Parts StringShape::unpack(TextState state, bool excludes) {
  Parts parts;
  parts.phase = static_cast<Phase>(state & 31);
  parts.utf8 = static_cast<Utf8Phase>(state >> 5 & 15);
  if (excludes) {
    parts.word = static_cast<ByteTrie::Node>(state >> 9 & UINT32_MAX);
    parts.codepoint = static_cast<char32_t>(state >> 41);
  } else {
    parts.length.needed = static_cast<std::uint32_t>(state >> 9) & LengthCounter::kUnlimited;
    parts.length.left = static_cast<std::uint32_t>(state >> 35) & LengthCounter::kUnlimited;
  }
  return parts;
}

TextState StringShape::pack(const Parts& parts, bool excludes) {
  const TextState state = static_cast<TextState>(parts.phase) | static_cast<TextState>(parts.utf8) << 5;
  if (!excludes) return state | TextState{parts.length.needed} << 9 | TextState{parts.length.left} << 35;
  const bool matters = parts.word != ByteTrie::kNone;  // the escape's code point, as long as words are followed
  return state | TextState{parts.word} << 9 | (matters ? TextState{parts.codepoint} << 41 : 0);
}

std::optional<TextState> StringShape::step(TextState state, std::uint8_t byte) const {
  Parts parts = unpack(state, excludes_);
  switch (parts.phase) {
    case Phase::start:
      if (byte != '"') return {};
      parts.phase = Phase::character;
      parts.length = length_;
      parts.word = excludes_ ? ByteTrie::kRoot : ByteTrie::kNone;
      return pack(parts, excludes_);
    case Phase::character:
      return step_ground(parts, byte);
    case Phase::escape:
      if (byte == 'u') {
        parts.phase = Phase::hex1;
        parts.codepoint = 0;
        return pack(parts, excludes_);
      }
      if (const std::size_t known = kEscapes.find(static_cast<char>(byte)); known != std::string_view::npos) {
        parts.codepoint = static_cast<unsigned char>(kEscaped[known]);
        add_decoded(parts);
        parts.phase = Phase::character;
        return pack(parts, excludes_);
      }
      return {};
    case Phase::low_backslash:
      if (byte != '\\') return {};
      parts.phase = Phase::low_u;
      return pack(parts, excludes_);
    case Phase::low_u:
      if (byte != 'u') return {};
      parts.phase = Phase::low1;
      return pack(parts, excludes_);
    default:
      if (!step_hex(parts, byte)) return {};
      return pack(parts, excludes_);
  }
}

std::optional<TextState> StringShape::step_ground(Parts parts, std::uint8_t byte) const {
  if (parts.utf8 == Utf8Phase::ground) {
    if (byte == '"') {
      if (parts.length.needed > 0 || excluded_.word_at(parts.word) != ByteTrie::kNoWord) return {};
      return kEnded;
    }
    if (byte < 0x20) return {};
    if (!parts.length.take(1)) return {};  // a character is counted where it begins
    if (byte == '\\') {
      parts.phase = Phase::escape;
      return pack(parts, excludes_);
    }
  }
  parts.utf8 = utf8_step(parts.utf8, byte);
  if (parts.utf8 == Utf8Phase::invalid) return {};
  parts.word = excluded_.child(parts.word, byte);
  return pack(parts, excludes_);
}

bool StringShape::step_hex(Parts& parts, std::uint8_t byte) const {
  const int digit = hex_digit(byte);
  if (digit < 0) return false;
  const auto push = [&] { parts.codepoint = parts.codepoint << 4 | static_cast<char32_t>(digit); };
  switch (parts.phase) {
    case Phase::hex1:
      push();
      parts.phase = digit == 0xD ? Phase::hex2_of_d : Phase::hex2;
      return true;
    case Phase::hex2:
      push();
      parts.phase = Phase::hex3;
      return true;
    case Phase::hex2_of_d:
      if (digit >= 0xC) return false;  // a low surrogate without its high one
      push();
      parts.phase = digit >= 8 ? Phase::high3 : Phase::hex3;
      return true;
    case Phase::hex3:
      push();
      parts.phase = Phase::hex4;
      return true;
    case Phase::high3:
      push();
      parts.phase = Phase::high4;
      return true;
    case Phase::high4:
      push();
      parts.codepoint &= 0x3FF;
      parts.phase = Phase::low_backslash;
      return true;
    case Phase::low1:
      if (digit != 0xD) return false;
      parts.phase = Phase::low2;
      return true;
    case Phase::low2:
      if (digit < 0xC) return false;
      parts.codepoint = parts.codepoint << 2 | static_cast<char32_t>(digit & 3);
      parts.phase = Phase::low3;
      return true;
    case Phase::low3:
      push();
      parts.phase = Phase::low4;
      return true;
    case Phase::low4:
      push();
      parts.codepoint += 0x10000;
      break;
    default:  // hex4
      push();
  }
  add_decoded(parts);
  parts.phase = Phase::character;
  return true;
}

void StringShape::add_decoded(Parts& parts) const {
  if (parts.word != ByteTrie::kNone) {
    std::string bytes;
    append_utf8(parts.codepoint, bytes);
    for (const char byte : bytes) parts.word = excluded_.child(parts.word, static_cast<std::uint8_t>(byte));
  }
  parts.codepoint = 0;
}

std::optional<std::uint32_t> StringShape::room(TextState state) const {
  const Parts parts = unpack(state, excludes_);
  if (parts.phase != Phase::character || parts.utf8 != Utf8Phase::ground) return {};
  return excludes_ ? LengthCounter::kUnlimited : parts.length.left;
}

bool StringShape::is_steady(TextState state) const {
  const Parts parts = unpack(state, excludes_);
  return parts.phase == Phase::character && parts.utf8 == Utf8Phase::ground && parts.word == ByteTrie::kNone &&
         (excludes_ || parts.length.is_free());
}

std::optional<LengthCounter> StringShape::counted(TextState state) const {
  const Parts parts = unpack(state, excludes_);
  if (parts.phase != Phase::character || parts.utf8 != Utf8Phase::ground || parts.word != ByteTrie::kNone) return {};
  return excludes_ ? LengthCounter{} : parts.length;
}

std::uint32_t StringShape::characters_left(TextState state) const { return unpack(state, false).length.left; }

TextState StringShape::reduced(TextState state, std::uint32_t longest) const {
  Parts parts = unpack(state, excludes_);
  if (excludes_ || parts.phase == Phase::start || state == kEnded) return state;
  parts.length = parts.length.beyond(longest);
  return pack(parts, excludes_);
}

/// `matched` bytes of kEnd have come, of which nothing is counted yet: they may turn out to be text.
struct RawTextShape::Parts {
  Utf8Phase utf8 = Utf8Phase::ground;
  std::uint32_t matched = 0;
  LengthCounter length;
};

RawTextShape::Parts RawTextShape::unpack(TextState state) const {
  Parts parts;
  if (state == 0) {
    parts.length = length_;
    return parts;
  }
  parts.matched = (state & 15) - 1;
  parts.utf8 = static_cast<Utf8Phase>(state >> 4 & 15);
  parts.length.needed = static_cast<std::uint32_t>(state >> 8) & LengthCounter::kUnlimited;
  parts.length.left = static_cast<std::uint32_t>(state >> 34) & LengthCounter::kUnlimited;
  return parts;
}

TextState RawTextShape::pack(const Parts& parts) {
  return TextState{parts.matched + 1} | static_cast<TextState>(parts.utf8) << 4 | TextState{parts.length.needed} << 8 |
         TextState{parts.length.left} << 34;
}

std::optional<TextState> RawTextShape::step(TextState state, std::uint8_t byte) const {
  constexpr std::uint32_t kDecided = kEnd.size() - 1;  // bytes of kEnd that no text has
  Parts parts = unpack(state);
  // A beginning of kEnd can be completed, or is text that goes on otherwise.
  const auto completable = [&] { return parts.length.needed == 0 || parts.matched <= parts.length.left; };
  if (parts.utf8 == Utf8Phase::ground) {
    if (parts.matched == kDecided) return byte == '\n' ? std::optional(kEnded) : std::nullopt;
    if (byte == static_cast<std::uint8_t>(kEnd[parts.matched])) {
      ++parts.matched;
      if (parts.matched == kDecided ? parts.length.needed > 0 : !completable()) return {};
      return pack(parts);
    }
    if (!parts.length.take(parts.matched)) return {};
    parts.matched = 0;
    if (byte == '\n') {
      parts.matched = 1;
      if (!completable()) return {};
      return pack(parts);
    }
    if ((byte < 0x20 && byte != '\t' && byte != '\r') || !parts.length.take(1)) return {};
  }
  parts.utf8 = utf8_step(parts.utf8, byte);
  if (parts.utf8 == Utf8Phase::invalid) return {};
  return pack(parts);
}

std::optional<std::uint32_t> RawTextShape::room(TextState state) const {
  const Parts parts = unpack(state);
  if (state == kEnded || parts.matched > 0 || parts.utf8 != Utf8Phase::ground) return {};
  return parts.length.left;
}

bool RawTextShape::is_steady(TextState state) const {
  const Parts parts = unpack(state);
  return state != 0 && state != kEnded && parts.matched == 0 && parts.utf8 == Utf8Phase::ground &&
         parts.length.is_free();
}

bool RawTextShape::is_free(TextState state, std::uint32_t longest) const {
  return is_steady(reduced(state == 0 ? pack(unpack(0)) : state, longest));
}

TextState RawTextShape::reduced(TextState state, std::uint32_t longest) const {
  if (state == kEnded || state == 0) return state;
  Parts parts = unpack(state);
  parts.length = parts.length.beyond(longest + static_cast<std::uint32_t>(kEnd.size()));
  return pack(parts);
}

}  // namespace strata
