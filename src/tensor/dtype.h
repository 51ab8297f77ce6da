// Element types, and the conversions that define them: bf16, e4m3, e2m1.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace strata {

enum class DType : std::uint8_t { f32, bf16, f8_e4m3, i32, u8 };

/// Bytes of one element. There is no 4-bit DType: nothing addresses half a byte (see Nvfp4Weight).
constexpr std::int64_t size_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::f8_e4m3:
    case DType::u8:
      return 1;
  }
  return 0;
}

/// The name as users and logs see it: "f32", "bf16", "fp8", "i32", "u8".
constexpr std::string_view name_of(DType t) {
  switch (t) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f8_e4m3:
      return "fp8";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
  }
  return "?";
}

/// The upper half of a float.
struct bf16 {
  std::uint16_t bits = 0;

  constexpr explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
};

/// Nearest bf16, ties to even; NaN stays NaN.
constexpr bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

/// `value` as it reads back from bf16.
constexpr float round_to_bf16(float value) { return static_cast<float>(to_bf16(value)); }

/// E4M3 (the "fn" variant: bias 7, no infinities, 0x7f and 0xff are NaN, largest 448).
constexpr float decode_e4m3(std::uint8_t code) {
  const std::uint32_t sign = std::uint32_t{code & 0x80u} << 24;
  const std::uint32_t exponent = (code >> 3) & 15u, mantissa = code & 7u;
  if ((code & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0) {  // subnormal: mantissa * 2^-9
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 120u) << 23) | (mantissa << 20));
}

/// Nearest E4M3, ties to even, saturating at +-448; NaN stays NaN.
constexpr std::uint8_t encode_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7fu;
  if (magnitude >= 0x43e00000u) return sign | 0x7eu;  // 448 and above
  if (magnitude < 0x3c800000u) {                      // below 2^-6: a multiple of 2^-9, rounded by adding 2^14
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0xfu));
  }
  const std::uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return static_cast<std::uint8_t>(sign | ((rounded >> 20) - (120u << 3)));
}

/// E2M1, `s m m m`: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. Looks at the low four bits.
constexpr float decode_e2m1(unsigned code) {
  constexpr float kMagnitude[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return (code & 8u) ? -kMagnitude[code & 7u] : kMagnitude[code & 7u];
}

/// Nearest E2M1, ties to the even code, saturating at +-6 (thresholds 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5).
constexpr unsigned encode_e2m1(float value) {
  const float magnitude = value < 0 ? -value : value;
  const unsigned sign = (std::bit_cast<std::uint32_t>(value) >> 28) & 8u;
  unsigned code = 0;
  if (magnitude > 0.25f) code = 1;
  if (magnitude >= 0.75f) code = 2;
  if (magnitude > 1.25f) code = 3;
  if (magnitude >= 1.75f) code = 4;
  if (magnitude > 2.5f) code = 5;
  if (magnitude >= 3.5f) code = 6;
  if (magnitude > 5.0f) code = 7;
  return sign | code;
}

}  // namespace strata
