// All kernels and their table, for the vectors and activations that were included before. Each builds on those before
// it.
// clang-format off
#include "backend/cpu/kernels/matmul.inc.h"
#include "backend/cpu/kernels/elementwise.inc.h"
#include "backend/cpu/kernels/mamba.inc.h"
#include "backend/cpu/kernels/attention.inc.h"
#include "backend/cpu/kernels/packing.inc.h"
// clang-format on

using MatMul = void (*)(const TileRange& w, const ActivationRows& rows);

// By the format of the weights.
constexpr KernelTable table_with(MatMul f32, MatMul bf16, MatMul fp8, MatMul nvfp4) {
  return {
      sizeof(Activation),
      {f32, bf16, fp8, nvfp4},
      dots,
      round_activations,
      relu_squared_activations,
      add,
      relu_squared,
      rms_norm,
      gated_rms_norm,
      weighted_sum,
      conv,
      scan,
      attend,
      transpose,
      e4m3_to_bf16,
      transpose_bytes,
      part_even_from_odd,
      has_nan_code,
  };
}
