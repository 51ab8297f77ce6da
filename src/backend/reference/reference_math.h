// The scalar functions of the equations, in double.
#pragma once

#include <cmath>
#include <cstdint>

#include "backend/backend.h"

namespace strata::reference {

inline double silu(double v) { return v / (1 + std::exp(-v)); }
inline double softplus(double v) { return v > 20 ? v : std::log1p(std::exp(v)); }

inline const float* f32(const Vector& v) { return reinterpret_cast<const float*>(v.data.get()); }

/// Element `i` of state memory in its type.
inline float load(const Buffer& data, DType type, std::int64_t i) {
  switch (type) {
    case DType::bf16:
      return static_cast<float>(reinterpret_cast<const bf16*>(data.get())[i]);
    case DType::f8_e4m3:
      return decode_e4m3(reinterpret_cast<const std::uint8_t*>(data.get())[i]);
    default:
      return reinterpret_cast<const float*>(data.get())[i];
  }
}
inline void store(const Buffer& data, DType type, std::int64_t i, float value) {
  switch (type) {
    case DType::bf16:
      reinterpret_cast<bf16*>(data.get())[i] = to_bf16(value);
      return;
    case DType::f8_e4m3:
      reinterpret_cast<std::uint8_t*>(data.get())[i] = encode_e4m3(value);
      return;
    default:
      reinterpret_cast<float*>(data.get())[i] = value;
  }
}

}  // namespace strata::reference
