// Passes over one row of logits, in vectors as wide as the machine has.
#include "backend/logit_passes.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace strata {
namespace {

/// Sums run in so many lanes whatever the width of a vector, so that all widths give the same bits.
constexpr std::size_t kLanes = 16;

template <std::size_t kWidth>
struct Vectors {
  using Float [[gnu::vector_size(kWidth * 4)]] = float;
  using Int [[gnu::vector_size(kWidth * 4)]] = std::int32_t;
  static constexpr std::size_t kCount = kLanes / kWidth;  // that make up the lanes
};

/// exp(x) for x <= 0: 2^n exp(r) with n the nearest integer to x / ln 2, and a polynomial for exp(r).
template <class Float, class Int>
[[gnu::always_inline]] inline void exp_negative_of(const Float& x, Float& out) {
  const Float bounded = x > -87.0f ? x : Float{} - 87.0f;
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  const Float shifted = bounded * 1.44269504088896f + kRound;
  const Float n = shifted - kRound;
  const Float r = bounded - n * 0.693359375f - n * -2.12194440e-4f;
  Float p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // Not std::bit_cast: a vector as a return value would tie the function to one instruction set's ABI.
  const Int exponent = __builtin_bit_cast(Int, shifted) << 23;  // what lies above n's low bits is shifted out
  const Float result = __builtin_bit_cast(Float, __builtin_bit_cast(Int, p) + exponent);
  out = x >= -87.0f ? result : Float{};
}

template <std::size_t kWidth>
[[gnu::always_inline]] inline float block_maximum(const float* x) {
  using Float = typename Vectors<kWidth>::Float;
  Float largest[Vectors<kWidth>::kCount], next;
  for (Float& v : largest) v = Float{} - kInfinity;
  for (std::size_t i = 0; i < kLogitBlock; i += kLanes) {
    for (std::size_t v = 0; v < Vectors<kWidth>::kCount; ++v) {
      std::memcpy(&next, x + i + v * kWidth, sizeof next);
      largest[v] = next > largest[v] ? next : largest[v];  // false for NaN
    }
  }
  float lanes[kLanes];
  std::memcpy(lanes, largest, sizeof lanes);
  return *std::max_element(lanes, lanes + kLanes);
}

/// x - x is 0, but NaN where x is NaN or infinite.
template <std::size_t kWidth>
[[gnu::always_inline]] inline bool finite_pass(std::span<const float> logits) {
  using Float = typename Vectors<kWidth>::Float;
  Float sum[Vectors<kWidth>::kCount] = {}, next;
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (std::size_t v = 0; v < Vectors<kWidth>::kCount; ++v) {
      std::memcpy(&next, logits.data() + i + v * kWidth, sizeof next);
      sum[v] += next - next;
    }
  }
  float lanes[kLanes], total = 0;
  std::memcpy(lanes, sum, sizeof lanes);
  for (float lane : lanes) total += lane;
  for (; i < logits.size(); ++i) total += logits[i] - logits[i];
  return total == 0;
}

template <std::size_t kWidth>
[[gnu::always_inline]] inline double block_mass(const float* x, float max, float scale) {
  using Float = typename Vectors<kWidth>::Float;
  Float sum[Vectors<kWidth>::kCount] = {}, next, weight;
  for (std::size_t i = 0; i < kLogitBlock; i += kLanes) {
    for (std::size_t v = 0; v < Vectors<kWidth>::kCount; ++v) {
      std::memcpy(&next, x + i + v * kWidth, sizeof next);
      exp_negative_of<Float, typename Vectors<kWidth>::Int>((next - max) * scale, weight);
      sum[v] += weight;
    }
  }
  float lanes[kLanes];
  std::memcpy(lanes, sum, sizeof lanes);
  double result = 0;
  for (float lane : lanes) result += static_cast<double>(lane);
  return result;
}

/// Calls f(block, its kLogitBlock logits); the last block is filled up with -infinity.
template <class F>
[[gnu::always_inline]] inline void for_each_block(std::span<const float> logits, F f) {
  const std::size_t full = logits.size() / kLogitBlock;
  for (std::size_t b = 0; b < full; ++b) f(b, logits.data() + b * kLogitBlock);
  if (full * kLogitBlock == logits.size()) return;
  float padded[kLogitBlock];
  std::fill(std::copy(logits.begin() + static_cast<std::ptrdiff_t>(full * kLogitBlock), logits.end(), padded),
            padded + kLogitBlock, -kInfinity);
  f(full, padded);
}

template <std::size_t kWidth>
[[gnu::always_inline]] inline void maxima_pass(std::span<const float> logits, std::span<float> out) {
  for_each_block(
      logits, [&](std::size_t b, const float* x) __attribute__((always_inline)) { out[b] = block_maximum<kWidth>(x); });
}

template <std::size_t kWidth>
[[gnu::always_inline]] inline void masses_pass(std::span<const float> logits, float max, float scale,
                                               std::span<double> out) {
  for_each_block(
      logits, [&](std::size_t b, const float* x)
                  __attribute__((always_inline)) { out[b] = block_mass<kWidth>(x, max, scale); });
}

using Logits = std::span<const float>;
struct Passes {
  void (*maxima)(Logits, std::span<float>);
  void (*masses)(Logits, float max, float scale, std::span<double>);
  bool (*finite)(Logits);
};

bool finite_4(Logits x) { return finite_pass<4>(x); }
void maxima_4(Logits x, std::span<float> out) { maxima_pass<4>(x, out); }
void masses_4(Logits x, float max, float scale, std::span<double> out) { masses_pass<4>(x, max, scale, out); }

#if defined(__x86_64__)
[[gnu::target("arch=x86-64-v3")]] bool finite_8(Logits x) { return finite_pass<8>(x); }
[[gnu::target("arch=x86-64-v3")]] void maxima_8(Logits x, std::span<float> out) { maxima_pass<8>(x, out); }
[[gnu::target("arch=x86-64-v3")]] void masses_8(Logits x, float max, float scale, std::span<double> out) {
  masses_pass<8>(x, max, scale, out);
}
[[gnu::target("arch=x86-64-v4")]] bool finite_16(Logits x) { return finite_pass<16>(x); }
[[gnu::target("arch=x86-64-v4")]] void maxima_16(Logits x, std::span<float> out) { maxima_pass<16>(x, out); }
[[gnu::target("arch=x86-64-v4")]] void masses_16(Logits x, float max, float scale, std::span<double> out) {
  masses_pass<16>(x, max, scale, out);
}
#endif

Passes choose_passes() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw"))
    return {maxima_16, masses_16, finite_16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {maxima_8, masses_8, finite_8};
#endif
  return {maxima_4, masses_4, finite_4};
}

const Passes& passes() {
  static const Passes chosen = choose_passes();
  return chosen;
}

}  // namespace

float exp_negative(float x) {
  float result;
  exp_negative_of<float, std::int32_t>(x, result);
  return result;
}

bool all_finite(std::span<const float> logits) { return passes().finite(logits); }

void block_maxima(std::span<const float> logits, std::span<float> out) { passes().maxima(logits, out); }

void block_masses(std::span<const float> logits, float max, float scale, std::span<double> out) {
  passes().masses(logits, max, scale, out);
}

void gather(std::span<const float> logits, std::span<const float> maxima, float floor, std::vector<Candidate>& out) {
  out.clear();
  for (std::size_t b = 0; b < maxima.size(); ++b) {
    if (maxima[b] < floor) continue;
    const std::size_t end = std::min(logits.size(), (b + 1) * kLogitBlock);
    for (std::size_t i = b * kLogitBlock; i < end; ++i) {
      if (logits[i] >= floor) out.push_back({static_cast<TokenId>(i), logits[i], 0});
    }
  }
}

}  // namespace strata
