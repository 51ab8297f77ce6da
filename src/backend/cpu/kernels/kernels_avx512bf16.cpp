// The kernels for AVX-512 with products of bf16 pairs (F, BW, DQ, VL, BF16, VBMI). Nothing here has external linkage
// but the table: code compiled for one instruction set must never stand in for another's.

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
#include "backend/cpu/kernels/activations_bf16.inc.h"
#include "backend/cpu/kernels/e4m3_vbmi.inc.h"
#include "backend/cpu/kernels/kernels.inc.h"
#include "backend/cpu/kernels/matmul_bf16.inc.h"
// clang-format on

}  // namespace

constinit const KernelTable kAvx512Bf16Kernels =
    table_with(matmul<F32Tiles>, matmul_pairs<Bf16Pairs>, matmul_pairs<Fp8Pairs>, matmul_pairs<Nvfp4Pairs>);

}  // namespace strata
