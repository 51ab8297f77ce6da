#include "tensor/weight_formats.h"

namespace strata {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;  // clang before 17 asks for it

std::vector<std::byte> row_of(const StoredMatrix& m, std::int64_t row) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(m.row_bytes()));
  m.read_rows(row, 1, bytes);
  return bytes;
}

float value_at(const std::vector<std::byte>& row, DType dtype, std::size_t column) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, row.data() + column * 4, 4);
    return value;
  }
  bf16 value;
  std::memcpy(&value, row.data() + column * 2, 2);
  return static_cast<float>(value);
}

}  // namespace

std::int64_t out_features(const LinearWeight& w) {
  return std::visit(Overloaded{[](const Nvfp4Weight& q) { return q.codes.rows; },
                               [](const auto& plain) { return plain.values.rows; }},
                    w);
}

std::int64_t in_features(const LinearWeight& w) {
  return std::visit(Overloaded{[](const Nvfp4Weight& q) { return q.codes.cols * 2; },
                               [](const auto& plain) { return plain.values.cols; }},
                    w);
}

std::int64_t stored_bytes(const LinearWeight& w) {
  return std::visit(Overloaded{[](const Nvfp4Weight& q) { return q.codes.bytes.size() + q.scales.bytes.size(); },
                               [](const auto& plain) { return plain.values.bytes.size(); }},
                    w);
}

std::string_view format_name(const LinearWeight& w) {
  return std::visit(Overloaded{[](const DenseWeight& d) { return name_of(d.values.dtype); },
                               [](const Fp8Weight&) { return std::string_view("fp8"); },
                               [](const Nvfp4Weight&) { return std::string_view("nvfp4"); }},
                    w);
}

void decode_row(const LinearWeight& w, std::int64_t row, std::span<float> out) {
  const std::size_t n = out.size();
  std::visit(Overloaded{[&](const DenseWeight& d) {
                          const auto bytes = row_of(d.values, row);
                          for (std::size_t c = 0; c < n; ++c) out[c] = value_at(bytes, d.values.dtype, c);
                        },
                        [&](const Fp8Weight& q) {
                          const auto bytes = row_of(q.values, row);
                          for (std::size_t c = 0; c < n; ++c)
                            out[c] = decode_e4m3(std::to_integer<std::uint8_t>(bytes[c])) * q.scale;
                        },
                        [&](const Nvfp4Weight& q) {
                          const auto codes = row_of(q.codes, row), scales = row_of(q.scales, row);
                          for (std::size_t c = 0; c < n; ++c) {
                            const auto pair = std::to_integer<unsigned>(codes[c / 2]);
                            const float scale = decode_e4m3(std::to_integer<std::uint8_t>(scales[c / kNvfp4Block]));
                            out[c] = decode_e2m1(c % 2 ? pair >> 4 : pair) * scale * q.global_scale;
                          }
                        }},
             w);
}

}  // namespace strata
