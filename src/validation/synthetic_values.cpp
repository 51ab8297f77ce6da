#include "validation/synthetic_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/philox.h"
#include "base/check.h"
#include "tensor/dtype.h"

namespace strata {
namespace {

constexpr int kBits = 12;
constexpr int kEntries = 1 << kBits;
constexpr int kDrawsPerBlock = 8;  // of 16 bits, in one output of Philox
constexpr double kFp8Std = 100;    // of the codes: 448 is then 4.5 of it
constexpr double kNvfp4Std = 2.9;  // of the values before rounding: 6 is about the largest of 16

double quantile(int entry, int entries) { return (entry + 0.5) / entries; }

/// The x with a share p of N(0, 1) below it, by bisection: slow, and exact enough for every encoding here.
double normal_quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// The quantiles of N(0, 1), symmetric to the bit.
const std::vector<double>& normal_quantiles() {
  static const std::vector<double> quantiles = [] {
    std::vector<double> q(kEntries);
    for (int i = 0; i < kEntries / 2; ++i) {
      q[static_cast<std::size_t>(i)] = normal_quantile(quantile(i, kEntries));
      q[static_cast<std::size_t>(kEntries - 1 - i)] = -q[static_cast<std::size_t>(i)];
    }
    return q;
  }();
  return quantiles;
}

template <class T>
ElementTable table_of(int bits, const std::vector<T>& values) {
  ElementTable table{bits, sizeof(T), std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(table.entries.data(), values.data(), table.entries.size());
  return table;
}

/// The 2^bits values of `value(entry)`, rounded once to `type`.
template <class F>
ElementTable encoded(StoredType type, int bits, F&& value) {
  CHECK(type == StoredType::BF16 || type == StoredType::F32, "synthetic values are BF16 or F32");
  std::vector<float> values;
  for (int i = 0; i < 1 << bits; ++i) values.push_back(static_cast<float>(value(i)));
  if (type == StoredType::F32) return table_of(bits, values);
  std::vector<bf16> rounded;
  for (const float v : values) rounded.push_back(to_bf16(v));
  return table_of(bits, rounded);
}

std::vector<std::uint8_t> fp8_codes() {
  std::vector<std::uint8_t> codes;
  for (const double q : normal_quantiles()) codes.push_back(encode_e4m3(static_cast<float>(q * kFp8Std)));
  return codes;
}

/// 256 codes, so that one byte draws one of them.
std::vector<std::uint8_t> e2m1_codes() {
  std::vector<std::uint8_t> codes;
  for (int i = 0; i < 256; ++i) {
    const double value = normal_quantile(quantile(i, 256)) * kNvfp4Std;
    codes.push_back(static_cast<std::uint8_t>(encode_e2m1(static_cast<float>(value))));
  }
  return codes;
}

/// E4M3 codes are nearly logarithmic: as likely each, they are log-uniform values.
std::vector<std::uint8_t> scale_codes() {
  constexpr int kFirst = 0x38, kCount = 0x58 - 0x38 + 1;  // 1 to 16
  std::vector<std::uint8_t> codes;
  for (int i = 0; i < kEntries; ++i) codes.push_back(static_cast<std::uint8_t>(kFirst + i * kCount / kEntries));
  return codes;
}

template <class Decode>
double mean_square(const std::vector<std::uint8_t>& codes, Decode&& decode) {
  double sum = 0;
  for (const std::uint8_t code : codes) sum += double{decode(code)} * decode(code);
  return sum / static_cast<double>(codes.size());
}

template <class T>
void fill(const ElementTable& table, std::uint64_t seed, std::uint64_t name_hash, std::int64_t first, std::byte* out,
          std::int64_t count) {
  const auto* entries = reinterpret_cast<const T*>(table.entries.data());
  const int shift = 16 - table.bits;
  for (std::int64_t at = 0; at < count; at += kDrawsPerBlock) {
    const auto block = static_cast<std::uint64_t>((first + at) / kDrawsPerBlock);
    const auto words =
        philox4x32_10({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                       static_cast<std::uint32_t>(name_hash), static_cast<std::uint32_t>(name_hash >> 32)},
                      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    T values[kDrawsPerBlock];
    for (std::size_t w = 0; w < 4; ++w) {
      values[2 * w] = entries[(words[w] & 0xffffu) >> shift];
      values[2 * w + 1] = entries[(words[w] >> 16) >> shift];
    }
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(kDrawsPerBlock, count - at));
    std::memcpy(out + at * static_cast<std::int64_t>(sizeof(T)), values, n * sizeof(T));
  }
}

}  // namespace

ElementTable gaussian_elements(StoredType type, double mean, double std) {
  const std::vector<double>& q = normal_quantiles();
  return encoded(type, kBits, [&](int i) { return mean + std * q[static_cast<std::size_t>(i)]; });
}

ElementTable constant_element(StoredType type, double value) {
  return encoded(type, 0, [&](int) { return value; });
}

ElementTable A_log_elements() {
  return encoded(StoredType::BF16, kBits, [](int i) { return std::log(1 + 15 * quantile(i, kEntries)); });
}

ElementTable dt_bias_elements() {
  return encoded(StoredType::BF16, kBits, [](int i) {
    const double dt = 1e-3 * std::pow(100.0, quantile(i, kEntries));
    return std::log(std::expm1(dt));
  });
}

ElementTable fp8_elements() { return table_of(kBits, fp8_codes()); }

double fp8_unit_std() { return std::sqrt(mean_square(fp8_codes(), decode_e4m3)); }

ElementTable nvfp4_code_elements() {
  const std::vector<std::uint8_t> codes = e2m1_codes();
  std::vector<std::uint8_t> pairs;
  for (const std::uint8_t high : codes)
    for (const std::uint8_t low : codes) pairs.push_back(static_cast<std::uint8_t>(low | high << 4));
  return table_of(16, pairs);
}

ElementTable nvfp4_scale_elements() { return table_of(kBits, scale_codes()); }

double nvfp4_unit_std() {
  return std::sqrt(mean_square(e2m1_codes(), decode_e2m1) * mean_square(scale_codes(), decode_e4m3));
}

std::uint64_t hash_of_name(std::string_view name) {
  // FNV-1a (Fowler, Noll, Vo), 64 bits.
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

void fill_elements(const ElementTable& table, std::uint64_t seed, std::uint64_t name_hash, std::int64_t first,
                   std::span<std::byte> out) {
  CHECK(first % kDrawsPerBlock == 0, "pieces begin with a block of draws");
  const std::int64_t count = std::ssize(out) / table.element_bytes;
  if (table.element_bytes == 1) return fill<std::uint8_t>(table, seed, name_hash, first, out.data(), count);
  if (table.element_bytes == 2) return fill<std::uint16_t>(table, seed, name_hash, first, out.data(), count);
  fill<std::uint32_t>(table, seed, name_hash, first, out.data(), count);
}

}  // namespace strata
