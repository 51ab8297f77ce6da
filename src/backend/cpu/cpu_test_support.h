// What the CPU backend's tests share: random weights of every format, matrices, and the backends to test.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"

namespace strata::cpu_test {

inline std::vector<float> random_floats(std::int64_t n, std::uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = normal(random);
  return values;
}

template <class T>
StoredBytes stored(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return StoredBytes(std::move(bytes));
}

/// Random e4m3 codes without NaN, subnormals among them.
inline std::vector<std::uint8_t> random_e4m3(std::int64_t n, std::uint32_t seed, bool positive) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(n));
  for (auto& c : codes) c = static_cast<std::uint8_t>(random() % 0x7f | (positive ? 0 : random() & 0x80));
  return codes;
}

inline LinearWeight random_weight(const std::string& format, std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  if (format == "f32") return DenseWeight{{stored(random_floats(rows * cols, seed)), DType::f32, rows, cols}};
  if (format == "bf16") {
    std::vector<bf16> values;
    for (const float v : random_floats(rows * cols, seed)) values.push_back(to_bf16(v));
    return DenseWeight{{stored(values), DType::bf16, rows, cols}};
  }
  if (format == "fp8")
    return Fp8Weight{{stored(random_e4m3(rows * cols, seed, false)), DType::f8_e4m3, rows, cols}, 0.0123f};
  std::mt19937 random(seed);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * cols / 2));
  for (auto& c : codes) c = static_cast<std::uint8_t>(random());
  return Nvfp4Weight{{stored(codes), DType::u8, rows, cols / 2},
                     {stored(random_e4m3(rows * cols / 16, seed + 1, true)), DType::f8_e4m3, rows, cols / 16},
                     0.0077f};
}

inline ConstMatrix view(const std::vector<float>& values, std::int64_t rows) {
  const std::int64_t cols = static_cast<std::int64_t>(values.size()) / rows;
  return {reinterpret_cast<const std::byte*>(values.data()), DType::f32, rows, cols, cols};
}
template <class T>
Matrix view(std::vector<T>& values, std::int64_t rows) {
  const std::int64_t cols = static_cast<std::int64_t>(values.size()) / rows;
  return {reinterpret_cast<std::byte*>(values.data()), dtype_of<T>(), rows, cols, cols};
}
inline Vector vector_of(Backend& backend, const std::vector<float>& values) {
  Vector v{backend.allocate(static_cast<std::int64_t>(values.size()) * 4), static_cast<std::int64_t>(values.size())};
  backend.upload(std::as_bytes(std::span(values)), v.data.get());
  return v;
}

inline WorkLimits limits() {
  WorkLimits l;
  l.tokens = 80, l.logit_rows = 80, l.sequences = 8, l.slots = 8, l.context = 512;
  l.features = 512, l.experts = 32, l.experts_per_token = 6, l.expert_features = 256;
  return l;
}

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kIsas)
    if (is_supported(isa)) isas.push_back(isa);
  return isas;
}

/// A test for each instruction set; skips, by name, what this machine lacks.
class EveryIsa : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!is_supported(GetParam())) GTEST_SKIP() << "this machine has no " << name_of(GetParam());
  }
};

}  // namespace strata::cpu_test
