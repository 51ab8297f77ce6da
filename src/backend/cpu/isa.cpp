// Which instruction sets this machine has, and their kernels.
#include "backend/cpu/isa.h"

#include <string>

#include "base/error.h"

namespace strata {

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512bf16:
      return "avx512bf16";
  }
  return "?";
}

Isa isa_from_name(std::string_view name) {
  for (const Isa isa : kIsas)
    if (name == name_of(isa)) return isa;
  throw Error(ErrorCode::usage, "--isa: expected portable, avx2, avx512 or avx512bf16, found \"" + std::string(name) +
                                    "\"; leave it out for the best");
}

bool is_supported(Isa isa) {
#if defined(__x86_64__)
  // Feature by feature: not every compiler knows the names of the levels here.
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
  if (isa == Isa::avx2) return v3;
  if (isa == Isa::avx512) return v4;
  if (isa == Isa::avx512bf16) {
    return v4 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi");
  }
#endif
  return isa == Isa::portable;
}

Isa best_isa() {
  for (const Isa isa : kIsas)
    if (is_supported(isa)) return isa;
  return Isa::portable;
}

const KernelTable& kernels_of(Isa isa) {
  if (!is_supported(isa))
    throw Error(ErrorCode::no_device, "--isa: this machine has no " + std::string(name_of(isa)) + "; its best is " +
                                          std::string(name_of(best_isa())));
#if defined(__x86_64__)
  if (isa == Isa::avx512bf16) return kAvx512Bf16Kernels;
  if (isa == Isa::avx512) return kAvx512Kernels;
  if (isa == Isa::avx2) return kAvx2Kernels;
#endif
  return kPortableKernels;
}

}  // namespace strata
