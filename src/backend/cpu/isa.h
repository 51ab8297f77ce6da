// The instruction sets that the CPU backend has kernels for.
#pragma once

#include <string_view>

#include "backend/cpu/kernels/kernel_table.h"

namespace strata {

enum class Isa { portable, avx2, avx512, avx512bf16 };

/// All of them, the widest first.
inline constexpr Isa kIsas[] = {Isa::avx512bf16, Isa::avx512, Isa::avx2, Isa::portable};

std::string_view name_of(Isa isa);
/// Throws Error{usage} unless `name` is "portable", "avx2", "avx512" or "avx512bf16".
Isa isa_from_name(std::string_view name);
/// Whether this machine runs it. avx2 stands for x86-64-v3 (AVX2, FMA, F16C), avx512 for x86-64-v4 (F, BW, DQ, VL),
/// avx512bf16 for that with BF16 and VBMI.
bool is_supported(Isa isa);
/// The widest that this machine has.
Isa best_isa();
/// Throws Error{no_device} if this machine lacks it.
const KernelTable& kernels_of(Isa isa);

}  // namespace strata
