// Linear weights of every format for the conformance tests.
#pragma once

#include "backend/conformance/conformance_support.h"

namespace strata::conformance {

inline const std::vector<std::string>& formats() {
  static const std::vector<std::string> all = {"bf16", "f32", "fp8", "nvfp4"};
  return all;
}
inline bool takes(const std::string& format, std::int64_t cols) { return format != "nvfp4" || cols % kNvfp4Block == 0; }

template <class T>
StoredMatrix stored(const std::vector<T>& values, DType dtype, std::int64_t rows, std::int64_t cols) {
  const auto bytes = std::as_bytes(std::span(values));
  return {StoredBytes({bytes.begin(), bytes.end()}), dtype, rows, cols};
}

inline LinearWeight dense(const Floats& m, DType dtype) {
  if (dtype == DType::f32) return DenseWeight{stored(m.values, dtype, m.rows, m.cols)};
  std::vector<bf16> halves;
  for (const float v : m.values) halves.push_back(to_bf16(v));
  return DenseWeight{stored(halves, dtype, m.rows, m.cols)};
}

/// Random codes of every kind: subnormals, both zeros, the largest; no NaN.
inline LinearWeight random_weight(const std::string& format, std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  if (format == "bf16" || format == "f32")
    return dense(random(rows, cols, seed), format == "f32" ? DType::f32 : DType::bf16);
  std::mt19937 bits(seed);
  const auto codes = [&](std::int64_t n, auto&& code) {
    std::vector<std::uint8_t> all(static_cast<std::size_t>(n));
    for (auto& c : all) c = static_cast<std::uint8_t>(code());
    return all;
  };
  if (format == "fp8")
    return Fp8Weight{
        stored(codes(rows * cols, [&] { return bits() % 0x7f | (bits() & 0x80); }), DType::f8_e4m3, rows, cols),
        0.0123f};
  const auto values = codes(rows * cols / 2, [&] { return bits(); });
  const auto scales = codes(rows * cols / kNvfp4Block, [&] { return bits() % 0x7f; });
  return Nvfp4Weight{stored(values, DType::u8, rows, cols / 2),
                     stored(scales, DType::f8_e4m3, rows, cols / kNvfp4Block), 8.65e-5f};
}

/// Whole numbers from -4 to 4: with whole inputs every sum is exact, in any order and any format.
inline LinearWeight whole_weight(const std::string& format, std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  std::mt19937 bits(seed);
  const float steps[] = {0, 1, 2, 3, 4, -1, -2, -3, -4};
  Floats m(rows, cols);
  for (float& v : m.values) v = steps[bits() % 9];
  if (format == "bf16" || format == "f32") return dense(m, format == "f32" ? DType::f32 : DType::bf16);
  if (format == "fp8") {
    std::vector<std::uint8_t> codes;
    for (const float v : m.values) codes.push_back(encode_e4m3(v * 8));
    return Fp8Weight{stored(codes, DType::f8_e4m3, rows, cols), 0.125f};
  }
  std::vector<std::uint8_t> codes(m.values.size() / 2);
  for (std::size_t i = 0; i < m.values.size(); ++i)
    codes[i / 2] |= static_cast<std::uint8_t>(encode_e2m1(m.values[i]) << (i % 2 * 4));
  const std::vector<std::uint8_t> scales(m.values.size() / kNvfp4Block, encode_e4m3(64));
  return Nvfp4Weight{stored(codes, DType::u8, rows, cols / 2), stored(scales, DType::f8_e4m3, rows, cols / kNvfp4Block),
                     0x1p-6f};
}

/// Every e4m3 code but the two NaN.
inline std::vector<std::uint8_t> e4m3_codes() {
  std::vector<std::uint8_t> codes;
  for (unsigned c = 0; c < 256; ++c)
    if ((c & 0x7f) != 0x7f) codes.push_back(static_cast<std::uint8_t>(c));
  return codes;
}

/// A row for every e4m3 block scale and in it every e2m1 code four times, `turn` places on: so in 16 turns every pair
/// of code and scale stands in every column.
inline LinearWeight nvfp4_codes_and_scales(std::int64_t turn) {
  constexpr std::int64_t kCols = 64;
  const std::vector<std::uint8_t> scales = e4m3_codes();
  std::vector<std::uint8_t> codes, block_scales;
  for (const std::uint8_t scale : scales) {
    for (std::int64_t c = turn; c < turn + kCols; c += 2)
      codes.push_back(static_cast<std::uint8_t>(c % 16 | (c + 1) % 16 << 4));
    block_scales.insert(block_scales.end(), kCols / kNvfp4Block, scale);
  }
  const std::int64_t rows = std::ssize(scales);
  return Nvfp4Weight{stored(codes, DType::u8, rows, kCols / 2),
                     stored(block_scales, DType::f8_e4m3, rows, kCols / kNvfp4Block), 0.0371f};
}

inline Floats decoded(const LinearWeight& w) {
  Floats m(out_features(w), in_features(w));
  for (std::int64_t r = 0; r < m.rows; ++r)
    decode_row(w, r, {m.values.data() + r * m.cols, static_cast<std::size_t>(m.cols)});
  return m;
}

/// Ones at (r, r % cols).
inline Floats unit_rows(std::int64_t rows, std::int64_t cols) {
  Floats m(rows, cols);
  for (std::int64_t r = 0; r < rows; ++r) m.at(r, r % cols) = 1;
  return m;
}

inline Floats linear(Backend& backend, const Floats& x, const LinearWeight& w) {
  const auto loaded = backend.load_linear({&w, 1});
  const Placed in = place(backend, x), out = place_output(backend, x.rows, out_features(w));
  backend.linear(in, *loaded, out);
  return fetch(backend, out);
}

/// sum |x| |w| of every output: what the errors of a product are relative to.
inline Floats linear_magnitudes(ReferenceBackend& reference, const Floats& x, const LinearWeight& w) {
  return linear(reference, magnitudes(x), dense(magnitudes(decoded(w)), DType::f32));
}

/// Roundings of a sum of k products in any order, of the decoding, and of both results.
inline double product_roundings(std::int64_t k) { return (double(k) + 8) * kRounding; }

}  // namespace strata::conformance
