// Views of row-major matrices: the one shape that activations and linear weights have here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/check.h"
#include "tensor/dtype.h"

namespace strata {

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) return DType::f32;
  if constexpr (std::is_same_v<U, bf16>) return DType::bf16;
  if constexpr (std::is_same_v<U, std::int32_t>) return DType::i32;
  if constexpr (std::is_same_v<U, std::uint8_t>) return DType::u8;
}

/// A borrowed matrix, [rows, cols], rows `stride` elements apart; activations are [tokens, features].
/// The memory may be a device's: only that backend looks inside.
struct Matrix {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t rows = 0, cols = 0, stride = 0;

  /// Columns [begin, begin + count) of every row, sharing the memory.
  Matrix columns(std::int64_t begin, std::int64_t count) const {
    CHECK(0 <= begin && begin + count <= cols, "columns outside the matrix");
    return {data + begin * size_of(dtype), dtype, rows, count, stride};
  }
  template <class T>
  T* row(std::int64_t r) const {
    CHECK(dtype == dtype_of<T>() && 0 <= r && r < rows, "row of another type or outside the matrix");
    return reinterpret_cast<T*>(data) + r * stride;
  }
};

/// The same, read-only.
struct ConstMatrix {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t rows = 0, cols = 0, stride = 0;

  ConstMatrix() = default;
  ConstMatrix(const std::byte* d, DType t, std::int64_t r, std::int64_t c, std::int64_t s)
      : data(d), dtype(t), rows(r), cols(c), stride(s) {}
  ConstMatrix(const Matrix& m) : data(m.data), dtype(m.dtype), rows(m.rows), cols(m.cols), stride(m.stride) {}

  ConstMatrix columns(std::int64_t begin, std::int64_t count) const {
    CHECK(0 <= begin && begin + count <= cols, "columns outside the matrix");
    return {data + begin * size_of(dtype), dtype, rows, count, stride};
  }
  template <class T>
  const T* row(std::int64_t r) const {
    CHECK(dtype == dtype_of<T>() && 0 <= r && r < rows, "row of another type or outside the matrix");
    return reinterpret_cast<const T*>(data) + r * stride;
  }
};

}  // namespace strata
