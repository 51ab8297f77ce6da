// The kernels for any CPU. Nothing here has external linkage but the table: code compiled for one
// instruction set must never stand in for another's.
#include "backend/cpu/kernels/kernel_table.h"

#define INLINE [[gnu::always_inline]] inline
#define INLINE_LAMBDA __attribute__((always_inline))

namespace strata {
namespace {

// Each builds on those before it.
// clang-format off
#include "backend/cpu/kernels/vector_portable.inc.h"
#include "backend/cpu/kernels/activations_f32.inc.h"
#include "backend/cpu/kernels/matmul.inc.h"
#include "backend/cpu/kernels/elementwise.inc.h"
#include "backend/cpu/kernels/mamba.inc.h"
#include "backend/cpu/kernels/attention.inc.h"
#include "backend/cpu/kernels/packing.inc.h"
// clang-format on

}  // namespace

const KernelTable kPortableKernels = {
    sizeof(Activation),
    {matmul<F32Tiles>, matmul<Bf16Tiles>, matmul<Fp8Tiles>, matmul<Nvfp4Tiles>},
    dots,
    round_activations,
    relu_squared_activations,
    round_bf16,
    add,
    relu_squared,
    rms_norm,
    gated_rms_norm,
    weighted_sum,
    conv,
    scan,
    attend,
    transpose,
    widen_bf16,
    transpose_bytes,
    part_even_from_odd,
    has_nan_code,
};

}  // namespace strata
