// JSON strings and raw text, a byte at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "server/constrained/byte_trie.h"

namespace strata {

/// What has to follow inside a character of UTF-8 (Unicode, table 3-7).
enum class Utf8Phase : std::uint8_t { ground, one, two, three, after_e0, after_ed, after_f0, after_f4, invalid };

/// The phase after one more byte.
Utf8Phase utf8_step(Utf8Phase phase, std::uint8_t byte);

/// How many code points a text may still have. Limits beyond kMost are none: no context holds so much.
struct LengthCounter {
  static constexpr std::uint32_t kUnlimited = (1u << 26) - 1;
  static constexpr std::uint32_t kMost = kUnlimited - 1;
  std::uint32_t needed = 0;
  std::uint32_t left = kUnlimited;

  bool is_free() const { return needed == 0 && left == kUnlimited; }
  /// Counts `characters`; false if they are too many.
  bool take(std::uint32_t characters);
  /// The counter that treats texts of up to `longest` code points as this one does, of few distinct ones.
  LengthCounter beyond(std::uint32_t longest) const;
};

/// What both machines tell of a byte: the state after it, or that it can't stand here. States are opaque, 0 the start.
using TextState = std::uint64_t;

/// A JSON string with its quotes: valid UTF-8, known escapes, no lone surrogates, as many code points as `length` says.
class StringShape {
 public:
  static constexpr TextState kEnded = 31;  // after the closing quote

  explicit StringShape(LengthCounter length) : length_(length) {}
  /// Any string but the words of `excluded`, which are compared without escapes.
  explicit StringShape(ByteTrie excluded) : excluded_(std::move(excluded)), excludes_(!excluded_.empty()) {}

  std::optional<TextState> step(TextState state, std::uint8_t byte) const;
  const LengthCounter& length() const { return length_; }
  /// How many characters without escapes may follow now; nothing if a character or an escape is begun.
  std::optional<std::uint32_t> room(TextState state) const;
  /// Whether such characters leave the state as it is.
  bool is_steady(TextState state) const;
  /// What is counted where no character or escape is begun and no excluded word can follow; else nothing.
  std::optional<LengthCounter> counted(TextState state) const;
  /// LengthCounter::left in `state`, of a string that excludes nothing.
  std::uint32_t characters_left(TextState state) const;
  /// What the state is like for texts of no more than `longest` code points (see LengthCounter::beyond).
  TextState reduced(TextState state, std::uint32_t longest) const;

 private:
  struct Parts;
  static Parts unpack(TextState state, bool excludes);
  static TextState pack(const Parts& parts, bool excludes);
  std::optional<TextState> step_ground(Parts parts, std::uint8_t byte) const;
  bool step_hex(Parts& parts, std::uint8_t byte) const;
  void add_decoded(Parts& parts) const;

  LengthCounter length_;
  ByteTrie excluded_;
  bool excludes_ = false;
};

/// Any text without "\n</parameter>", and then "\n</parameter>\n": a string as an argument of a tool call.
class RawTextShape {
 public:
  static constexpr std::string_view kEnd = "\n</parameter>\n";
  static constexpr TextState kEnded = 15;

  explicit RawTextShape(LengthCounter length) : length_(length) {}
  std::optional<TextState> step(TextState state, std::uint8_t byte) const;
  const LengthCounter& length() const { return length_; }
  std::optional<std::uint32_t> room(TextState state) const;
  bool is_steady(TextState state) const;
  /// Whether no limit can be met within `longest` bytes, and no character or end is begun.
  bool is_free(TextState state, std::uint32_t longest) const;
  TextState reduced(TextState state, std::uint32_t longest) const;

 private:
  struct Parts;
  Parts unpack(TextState state) const;
  static TextState pack(const Parts& parts);

  LengthCounter length_;
};

}  // namespace strata
