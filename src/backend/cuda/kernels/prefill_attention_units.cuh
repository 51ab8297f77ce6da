// What prefill_attention.cu multiplies: units of 128 keys and their values in shared memory as bf16, how the matrix
// unit is told of them, and the warpgroup that brings them.
#pragma once

#include "backend/cuda/kernels/prefill_attention.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

namespace strata::cuda::prompt_attention {

inline constexpr int kTokens = kPrefillSequenceRows, kHeads = 16, kDim = 128, kProducts = kDim / 16;
inline constexpr int kUnitKeys = 128, kPage = 64;
/// Warpgroups that multiply, of kTokens / kGroups tokens each; the last one copies.
inline constexpr int kGroups = 2, kThreads = 128 * (kGroups + 1), kGroupRows = kTokens / kGroups * kHeads;
static_assert(kGroupRows == 64);

/// Rows of 64 columns, 128 bytes, whose 16-byte parts are exchanged by part ^ row % 8: halves of 128 columns.
template <int kRows>
struct Halves {
  std::byte rows[2][kRows][128];
};
struct Shared {
  Halves<kUnitKeys> keys[2], values[2];
  Halves<kGroupRows> queries[kGroups];
  std::uint64_t keys_came[2], values_came[2], keys_used[2], values_used[2];
};
struct ExactShared : Shared {
  float totals[kTokens][64][32];  // of the blocks merged so far, each lane's own
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ __forceinline__ unsigned shared_address(const void* at) {
  return static_cast<unsigned>(__cvta_generic_to_shared(at));
}
__device__ __forceinline__ void init_barrier(const std::uint64_t& barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0],%1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void arrive(const std::uint64_t& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _,[%0];" ::"r"(shared_address(&barrier)) : "memory");
}
/// Waits for the end of a phase, 0 and 1 by turns.
__device__ __forceinline__ void wait(const std::uint64_t& barrier, unsigned phase) {
  asm volatile(
      "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done,[%0],%1;\n@done bra DONE;\n"
      "bra AGAIN;\nDONE:\n}" ::"r"(shared_address(&barrier)),
      "r"(phase)
      : "memory");
}

#define STRATA_SUMS_64                                                                                              \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "  \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define STRATA_OF_8(i)                                                                                    \
  "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), "+f"(sum[i + 5]), \
      "+f"(sum[i + 6]), "+f"(sum[i + 7])
#define STRATA_OF_64                                                                                                   \
  STRATA_OF_8(0), STRATA_OF_8(8), STRATA_OF_8(16), STRATA_OF_8(24), STRATA_OF_8(32), STRATA_OF_8(40), STRATA_OF_8(48), \
      STRATA_OF_8(56)

/// sum = (accumulate ? sum : 0) + a b: a is 64 rows and b 128, both of `wgmma_rows`.
__device__ __forceinline__ void multiply_rows(float (&sum)[64], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " STRATA_SUMS_64 ", %64, %65, p, 1, 1, 0, 0;\n}\n"
      : STRATA_OF_64
      : "l"(a), "l"(b), "r"(accumulate));
}
/// The same with a in registers and b 16 rows of 128 columns, of `columns_of`.
__device__ __forceinline__ void multiply_columns(float (&sum)[64], const unsigned (&a)[4], std::uint64_t b,
                                                 int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " STRATA_SUMS_64
      ", {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}\n"
      : STRATA_OF_64
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}
#undef STRATA_SUMS_64
#undef STRATA_OF_8
#undef STRATA_OF_64

/// Describes Halves<kUnitKeys> whose rows are the sum's index; 16 rows on are 2,048 bytes on.
__device__ __forceinline__ std::uint64_t columns_of(unsigned shared) {
  constexpr std::uint64_t kApart = kUnitKeys * 128 / 16;  // the halves, in 16 bytes
  return static_cast<std::uint64_t>((shared & 0x3ffff) >> 4) | kApart << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}

/// Two fp8 values of a word's half as two bf16, as Tile<Format::fp8>.
__device__ __forceinline__ unsigned pair_of(unsigned word, unsigned pick) {
  const unsigned v = __byte_perm(word, 0, pick);
  return multiply_bf16x2((v & 0x80008000u) | ((v & 0x7f007f00u) >> 4), 0x7b807b80u);
}
__device__ __forceinline__ uint2 four_of(unsigned word) { return {pair_of(word, 0x1404), pair_of(word, 0x3424)}; }

/// Where columns 16 t + 4 kb ... of a row's half lie for products over columns: product kb has those of every t, as in
/// attention.cu.
__device__ __forceinline__ int place_of(int row, int t, int kb) {
  return row * 128 + ((kb * 2 + t / 2) ^ (row % 8)) * 16 + t % 2 * 8;
}

/// What a block works on.
struct Work {
  DeviceSequence s;
  int first, kv_head, first_head, sharing;
  std::int64_t most;  // keys that any of its tokens sees
};

/// Brings unit after unit.
template <bool kFp8>
__device__ __forceinline__ void copy_units(Shared& shared, const DeviceBatch& batch, const Cache& cache,
                                           const Work& work) {
  const int thread = threadIdx.x % 128, lane = thread % 32, warp = thread / 32, quad = lane / 4, t = lane % 4;
  const std::int32_t* pages = batch.pages(work.s);
  constexpr int kRowBytes = kDim * (kFp8 ? 1 : 2), kPieces = 8;  // of 16 values
  const auto load = [&](std::int64_t first_key, int of_values, uint4(&to)[kFp8 ? kPieces : kPieces / 2 * 2], int from,
                        int row_in_eight) {
#pragma unroll
    for (int i = 0; i < (kFp8 ? kPieces : kPieces / 2); ++i) {
      const int piece = from + i, half = piece % 2, key = (piece / 2 * 4 + warp) * 8 + row_in_eight;
      const bool there = first_key + key < work.most;
      const std::int64_t page = there ? pages[(first_key + key) / kPage] : 0;
      const std::byte* at = cache.data +
                            (((page * 2 + of_values) * cache.heads + work.kv_head) * kPage + key % kPage) * kRowBytes +
                            (half * 64 + t * 16) * (kFp8 ? 1 : 2);
      if (kFp8) {
        to[i] = there ? *reinterpret_cast<const uint4*>(at) : uint4{0, 0, 0, 0};
      } else {
        to[2 * i] = there ? *reinterpret_cast<const uint4*>(at) : uint4{0, 0, 0, 0};
        to[2 * i + 1] = there ? *reinterpret_cast<const uint4*>(at + 16) : uint4{0, 0, 0, 0};
      }
    }
  };
  // Rows of a quad's lanes: so that stores meet no bank twice.
  const int key_row = quad % 4 * 2 + quad / 4, value_row = quad;
  const auto store = [&](const uint4(&in)[kFp8 ? kPieces : kPieces / 2 * 2], int of_values, Halves<kUnitKeys>& to,
                         int from) {
#pragma unroll
    for (int i = 0; i < (kFp8 ? kPieces : kPieces / 2); ++i) {
      const int piece = from + i, half = piece % 2;
      const int row = (piece / 2 * 4 + warp) * 8 + (of_values ? value_row : key_row);
      std::byte* rows = &to.rows[half][0][0];
      uint2 fours[4];
      if (kFp8) {
        fours[0] = four_of(in[i].x), fours[1] = four_of(in[i].y);
        fours[2] = four_of(in[i].z), fours[3] = four_of(in[i].w);
      } else {
        const uint4 lo = in[2 * i], hi = in[2 * i + 1];
        fours[0] = {lo.x, lo.y}, fours[1] = {lo.z, lo.w}, fours[2] = {hi.x, hi.y}, fours[3] = {hi.z, hi.w};
      }
      if (of_values) {
#pragma unroll
        for (int part = 0; part < 2; ++part)
          *reinterpret_cast<uint4*>(rows + row * 128 + ((t * 2 + part) ^ (row % 8)) * 16) = {
              fours[part * 2].x, fours[part * 2].y, fours[part * 2 + 1].x, fours[part * 2 + 1].y};
      } else {
#pragma unroll
        for (int kb = 0; kb < 4; ++kb) *reinterpret_cast<uint2*>(rows + place_of(row, t, kb)) = fours[kb];
      }
    }
  };
  unsigned unit = 0;
  for (std::int64_t first_key = 0; first_key < work.most; first_key += kUnitKeys, ++unit) {
    const unsigned stage = unit % 2, phase = (unit / 2 + 1) & 1;
#pragma unroll
    for (int of_values = 0; of_values < 2; ++of_values) {
#pragma unroll
      for (int from = 0; from < kPieces; from += kFp8 ? kPieces : kPieces / 2) {
        uint4 pieces[kFp8 ? kPieces : kPieces / 2 * 2];
        load(first_key, of_values, pieces, from, of_values ? value_row : key_row);
        if (from == 0 && unit >= 2) wait(of_values ? shared.values_used[stage] : shared.keys_used[stage], phase);
        store(pieces, of_values, of_values ? shared.values[stage] : shared.keys[stage], from);
      }
      fence_for_wgmma();
      arrive(of_values ? shared.values_came[stage] : shared.keys_came[stage]);
    }
  }
}

#endif

}  // namespace strata::cuda::prompt_attention
