// A quick hash of a few bytes, as words and tokens are.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace strata {

/// Good in its low bits. Not against those who look for collisions: tables that strangers fill must not rely on it.
inline std::uint64_t hash_bytes(std::string_view bytes) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
  std::uint64_t hash = bytes.size() * kOdd;
  const auto mix = [&](std::uint64_t bits) { hash = (std::rotl(hash, 29) ^ bits) * kOdd; };
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + at, 8);
    mix(bits);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, bytes.data() + at, bytes.size() - at);
  mix(rest);
  return hash ^ hash >> 32;
}

}  // namespace strata
