// How checkpoints store a linear layer's weight: one struct per format.
#pragma once

#include <string_view>
#include <variant>

#include "tensor/stored.h"

namespace strata {

/// Plain values.
struct DenseWeight {
  StoredMatrix values;  // bf16 or f32 [out, in]
};

/// FP8 with one scale: w = e4m3 * scale.
struct Fp8Weight {
  StoredMatrix values;  // e4m3 [out, in]
  float scale = 1;
};

/// NVFP4 as ModelOpt writes it: w = e2m1 * block scale * global scale, in blocks of 16 along `in`.
struct Nvfp4Weight {
  StoredMatrix codes;      // u8 [out, in/2]: two e2m1 a byte, the even column in the low nibble
  StoredMatrix scales;     // e4m3 [out, in/16]
  float global_scale = 1;  // the checkpoint's weight_scale_2
};

/// Columns that share one NVFP4 block scale.
inline constexpr std::int64_t kNvfp4Block = 16;

using LinearWeight = std::variant<DenseWeight, Fp8Weight, Nvfp4Weight>;

std::int64_t out_features(const LinearWeight& w);
std::int64_t in_features(const LinearWeight& w);
/// Bytes in the checkpoint, scales included.
std::int64_t stored_bytes(const LinearWeight& w);
/// "f32", "bf16", "fp8" or "nvfp4".
std::string_view format_name(const LinearWeight& w);
/// Row `row` as float, all scales applied: the meaning of every format. out: [in].
void decode_row(const LinearWeight& w, std::int64_t row, std::span<float> out);

}  // namespace strata
