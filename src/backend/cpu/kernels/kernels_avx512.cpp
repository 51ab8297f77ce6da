// The kernels for AVX-512 (F, BW, DQ, VL). Nothing here has external linkage but the table: code compiled for one
// instruction set must never stand in for another's.

// The intrinsics' own headers start from undefined registers (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "backend/cpu/kernels/kernel_table.h"

#define INLINE [[gnu::always_inline]] inline
#define INLINE_LAMBDA __attribute__((always_inline))

namespace strata {
namespace {

// clang-format off
#include "backend/cpu/kernels/vector_avx512.inc.h"
#include "backend/cpu/kernels/activations_f32.inc.h"
#include "backend/cpu/kernels/e4m3.inc.h"
#include "backend/cpu/kernels/kernels.inc.h"
// clang-format on

}  // namespace

constinit const KernelTable kAvx512Kernels =
    table_with(matmul<F32Tiles>, matmul<Bf16Tiles>, matmul<Fp8Tiles>, matmul<Nvfp4Tiles>);

}  // namespace strata
