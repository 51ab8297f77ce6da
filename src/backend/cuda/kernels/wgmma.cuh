// Hopper's wide matrix instruction: a warpgroup (4 warps) multiplies 64 rows of weights, held in registers, by N tokens
// that lie in shared memory. It runs behind the program's back: between `wgmma_fence` and `wgmma_wait` the registers it
// was given are not to be touched.
#pragma once

#include <cstdint>

namespace strata::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most kLeft committed groups are still under way.
template <int kLeft>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}
/// Makes this thread's writes to shared memory visible to the matrix unit; a barrier follows.
__device__ __forceinline__ void fence_for_wgmma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Keeps the instructions that made an operand in front of the fence.
__device__ __forceinline__ void keep(unsigned (&a)[4]) {
  asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
}

/// Describes rows of 64 bf16 (128 bytes, k in a row), 16-byte parts exchanged by part ^ row % 8; `shared` is at a
/// multiple of 1024, plus 32 bytes for every 16 columns on.
__device__ __forceinline__ std::uint64_t wgmma_rows(unsigned shared) {
  return static_cast<std::uint64_t>((shared & 0x3ffff) >> 4) | std::uint64_t{1} << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}

/// sum = (accumulate ? sum : 0) + a x: a is 16 rows a warp in the order of mma.m16n8k16, x kN rows of `wgmma_rows`;
/// sum[4 j ..] is the accumulator of mma.m16n8k16 of tokens 8 j ...
template <int kN>
__device__ __forceinline__ void wgmma(float (&sum)[kN / 2], const unsigned (&a)[4], std::uint64_t x, int accumulate);

// Operands of the instruction: its sums in eights, each list going on from the one before.
#define STRATA_SUMS_32             \
  "%0, %1, %2, %3, %4, %5, %6, %7" \
  ", %8, %9, %10, %11, %12, %13, %14, %15"
#define STRATA_KEPT_32                                                                                            \
  "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]), "+f"(sum[7]), \
      "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]),      \
      "+f"(sum[15])
#define STRATA_SUMS_48 STRATA_SUMS_32 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define STRATA_KEPT_48                                                                                      \
  STRATA_KEPT_32, "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]), "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), \
      "+f"(sum[22]), "+f"(sum[23])
#define STRATA_SUMS_64 STRATA_SUMS_48 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define STRATA_KEPT_64                                                                                      \
  STRATA_KEPT_48, "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]), \
      "+f"(sum[30]), "+f"(sum[31])
#define STRATA_SUMS_80 STRATA_SUMS_64 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define STRATA_KEPT_80                                                                                      \
  STRATA_KEPT_64, "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]), "+f"(sum[36]), "+f"(sum[37]), \
      "+f"(sum[38]), "+f"(sum[39])
#define STRATA_SUMS_96 STRATA_SUMS_80 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define STRATA_KEPT_96                                                                                      \
  STRATA_KEPT_80, "+f"(sum[40]), "+f"(sum[41]), "+f"(sum[42]), "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), \
      "+f"(sum[46]), "+f"(sum[47])
#define STRATA_SUMS_112 STRATA_SUMS_96 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define STRATA_KEPT_112                                                                                     \
  STRATA_KEPT_96, "+f"(sum[48]), "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]), "+f"(sum[52]), "+f"(sum[53]), \
      "+f"(sum[54]), "+f"(sum[55])
#define STRATA_SUMS_128 STRATA_SUMS_112 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define STRATA_KEPT_128                                                                                      \
  STRATA_KEPT_112, "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]), "+f"(sum[60]), "+f"(sum[61]), \
      "+f"(sum[62]), "+f"(sum[63])
#define STRATA_SUMS_144 STRATA_SUMS_128 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define STRATA_KEPT_144                                                                                      \
  STRATA_KEPT_128, "+f"(sum[64]), "+f"(sum[65]), "+f"(sum[66]), "+f"(sum[67]), "+f"(sum[68]), "+f"(sum[69]), \
      "+f"(sum[70]), "+f"(sum[71])
#define STRATA_SUMS_160 STRATA_SUMS_144 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define STRATA_KEPT_160                                                                                      \
  STRATA_KEPT_144, "+f"(sum[72]), "+f"(sum[73]), "+f"(sum[74]), "+f"(sum[75]), "+f"(sum[76]), "+f"(sum[77]), \
      "+f"(sum[78]), "+f"(sum[79])
#define STRATA_SUMS_176 STRATA_SUMS_160 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define STRATA_KEPT_176                                                                                      \
  STRATA_KEPT_160, "+f"(sum[80]), "+f"(sum[81]), "+f"(sum[82]), "+f"(sum[83]), "+f"(sum[84]), "+f"(sum[85]), \
      "+f"(sum[86]), "+f"(sum[87])
#define STRATA_SUMS_192 STRATA_SUMS_176 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define STRATA_KEPT_192                                                                                      \
  STRATA_KEPT_176, "+f"(sum[88]), "+f"(sum[89]), "+f"(sum[90]), "+f"(sum[91]), "+f"(sum[92]), "+f"(sum[93]), \
      "+f"(sum[94]), "+f"(sum[95])
#define STRATA_SUMS_208 STRATA_SUMS_192 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define STRATA_KEPT_208                                                                                        \
  STRATA_KEPT_192, "+f"(sum[96]), "+f"(sum[97]), "+f"(sum[98]), "+f"(sum[99]), "+f"(sum[100]), "+f"(sum[101]), \
      "+f"(sum[102]), "+f"(sum[103])
#define STRATA_SUMS_224 STRATA_SUMS_208 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define STRATA_KEPT_224                                                                                            \
  STRATA_KEPT_208, "+f"(sum[104]), "+f"(sum[105]), "+f"(sum[106]), "+f"(sum[107]), "+f"(sum[108]), "+f"(sum[109]), \
      "+f"(sum[110]), "+f"(sum[111])
#define STRATA_SUMS_240 STRATA_SUMS_224 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define STRATA_KEPT_240                                                                                            \
  STRATA_KEPT_224, "+f"(sum[112]), "+f"(sum[113]), "+f"(sum[114]), "+f"(sum[115]), "+f"(sum[116]), "+f"(sum[117]), \
      "+f"(sum[118]), "+f"(sum[119])
#define STRATA_SUMS_256 STRATA_SUMS_240 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define STRATA_KEPT_256                                                                                            \
  STRATA_KEPT_240, "+f"(sum[120]), "+f"(sum[121]), "+f"(sum[122]), "+f"(sum[123]), "+f"(sum[124]), "+f"(sum[125]), \
      "+f"(sum[126]), "+f"(sum[127])

/// kN tokens; a0 .. a3, x and p: the numbers of the operands behind the kN / 2 sums.
#define STRATA_WGMMA(kN, a0, a1, a2, a3, x_, p_)                                                             \
  template <>                                                                                                \
  __device__ __forceinline__ void wgmma<kN>(float(&sum)[kN / 2], const unsigned(&a)[4], std::uint64_t x,     \
                                            int accumulate) {                                                \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p_ ", 0;\nwgmma.mma_async.sync.aligned.m64n" #kN      \
                 "k16.f32.bf16.bf16 {" STRATA_SUMS_##kN "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #x_ \
                                                        ", p, 1, 1, 0;\n}\n"                                 \
                 : STRATA_KEPT_##kN                                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(x), "r"(accumulate));                     \
  }
STRATA_WGMMA(32, 16, 17, 18, 19, 20, 21)
STRATA_WGMMA(48, 24, 25, 26, 27, 28, 29)
STRATA_WGMMA(64, 32, 33, 34, 35, 36, 37)
STRATA_WGMMA(80, 40, 41, 42, 43, 44, 45)
STRATA_WGMMA(96, 48, 49, 50, 51, 52, 53)
STRATA_WGMMA(112, 56, 57, 58, 59, 60, 61)
STRATA_WGMMA(128, 64, 65, 66, 67, 68, 69)
STRATA_WGMMA(144, 72, 73, 74, 75, 76, 77)
STRATA_WGMMA(160, 80, 81, 82, 83, 84, 85)
STRATA_WGMMA(176, 88, 89, 90, 91, 92, 93)
STRATA_WGMMA(192, 96, 97, 98, 99, 100, 101)
STRATA_WGMMA(208, 104, 105, 106, 107, 108, 109)
STRATA_WGMMA(224, 112, 113, 114, 115, 116, 117)
STRATA_WGMMA(240, 120, 121, 122, 123, 124, 125)
STRATA_WGMMA(256, 128, 129, 130, 131, 132, 133)
#undef STRATA_WGMMA
#undef STRATA_SUMS_32
#undef STRATA_KEPT_32
#undef STRATA_SUMS_48
#undef STRATA_KEPT_48
#undef STRATA_SUMS_64
#undef STRATA_KEPT_64
#undef STRATA_SUMS_80
#undef STRATA_KEPT_80
#undef STRATA_SUMS_96
#undef STRATA_KEPT_96
#undef STRATA_SUMS_112
#undef STRATA_KEPT_112
#undef STRATA_SUMS_128
#undef STRATA_KEPT_128
#undef STRATA_SUMS_144
#undef STRATA_KEPT_144
#undef STRATA_SUMS_160
#undef STRATA_KEPT_160
#undef STRATA_SUMS_176
#undef STRATA_KEPT_176
#undef STRATA_SUMS_192
#undef STRATA_KEPT_192
#undef STRATA_SUMS_208
#undef STRATA_KEPT_208
#undef STRATA_SUMS_224
#undef STRATA_KEPT_224
#undef STRATA_SUMS_240
#undef STRATA_KEPT_240
#undef STRATA_SUMS_256
#undef STRATA_KEPT_256

#endif

}  // namespace strata::cuda
