#include "backend/cpu/machine_rates.h"

// The intrinsics' own headers start from undefined registers (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "backend/cpu/memory.h"

namespace strata {
namespace {

constexpr std::int64_t kBytes = std::int64_t{1} << 28;
constexpr std::int64_t kPieces = 64;  // that the threads take turns with, as the ops do
constexpr std::int64_t kPiece = kBytes / kPieces;
constexpr std::int64_t kMultiplyAdds = 1 << 14;  // vectors in each chain
constexpr int kChains = 12;  // more than the latency of a multiply-add times the units, fewer than the registers
constexpr int kRuns = 6;

// Results go here, so that the compiler can't drop what makes them.
volatile std::uint64_t sink_words;
volatile float sink_float;

using Words = std::uint64_t __attribute__((vector_size(32)));

void read(const std::byte* at, std::int64_t bytes) {
  Words a{}, b{}, c{}, d{};
  const auto* words = reinterpret_cast<const Words*>(at);
  for (std::int64_t i = 0; i < bytes / static_cast<std::int64_t>(sizeof(Words)); i += 4) {
    a ^= words[i];
    b ^= words[i + 1];
    c ^= words[i + 2];
    d ^= words[i + 3];
  }
  a ^= b ^ c ^ d;
  sink_words = a[0] ^ a[1] ^ a[2] ^ a[3];
}

// Each of the following returns the operations that it has done.
alignas(64) const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

__attribute__((target("avx512f,avx512bf16"))) double multiply_add_bf16() {
  __m512 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));  // no two chains are the same
  auto x = reinterpret_cast<__m512bh>(_mm512_loadu_si512(ones));
  for (std::int64_t i = 0; i < kMultiplyAdds; ++i) {
    asm volatile("" : "+x"(x));  // a new operand each time, as far as the compiler knows
#pragma GCC unroll 12
    for (__m512& s : sums) s = _mm512_dpbf16_ps(s, x, x);
  }
  for (const __m512 s : sums) sink_float = _mm512_reduce_add_ps(s);
  return 2.0 * 32 * kChains * kMultiplyAdds;
}

__attribute__((target("avx512f"))) double multiply_add_512() {
  __m512 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));  // no two chains are the same
  __m512 x = _mm512_loadu_ps(ones);
  for (std::int64_t i = 0; i < kMultiplyAdds; ++i) {
    asm volatile("" : "+x"(x));  // a new operand each time, as far as the compiler knows
#pragma GCC unroll 12
    for (__m512& s : sums) s = _mm512_fmadd_ps(x, x, s);
  }
  for (const __m512 s : sums) sink_float = _mm512_reduce_add_ps(s);
  return 2.0 * 16 * kChains * kMultiplyAdds;
}

__attribute__((target("avx2,fma"))) double multiply_add_256() {
  __m256 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));  // no two chains are the same
  __m256 x = _mm256_loadu_ps(ones);
  for (std::int64_t i = 0; i < kMultiplyAdds; ++i) {
    asm volatile("" : "+x"(x));  // a new operand each time, as far as the compiler knows
#pragma GCC unroll 12
    for (__m256& s : sums) s = _mm256_fmadd_ps(x, x, s);
  }
  for (const __m256 s : sums) sink_float = _mm256_cvtss_f32(s);
  return 2.0 * 8 * kChains * kMultiplyAdds;
}

double multiply_add_128() {
  __m128 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm_set1_ps(static_cast<float>(i));  // no two chains are the same
  __m128 x = _mm_loadu_ps(ones);
  for (std::int64_t i = 0; i < kMultiplyAdds; ++i) {
    asm volatile("" : "+x"(x));  // a new operand each time, as far as the compiler knows
#pragma GCC unroll 12
    for (__m128& s : sums) s = _mm_add_ps(_mm_mul_ps(x, x), s);
  }
  for (const __m128 s : sums) sink_float = _mm_cvtss_f32(s);
  return 2.0 * 4 * kChains * kMultiplyAdds;
}

double multiply_add(Isa isa) {
  switch (isa) {
    case Isa::avx512bf16:
      return multiply_add_bf16();
    case Isa::avx512:
      return multiply_add_512();
    case Isa::avx2:
      return multiply_add_256();
    case Isa::portable:
      return multiply_add_128();
  }
  return 0;
}

/// The shortest of several runs, in seconds.
template <class Body>
double shortest(Body body) {
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

MachineMeter::MachineMeter(int threads, Isa isa) : pool_(threads), isa_(isa) {}

MachineRates MachineMeter::measure() {
  MachineRates rates;
  {
    const Buffer memory = allocate_host(kBytes);
    pool_.run(kPieces, [&](std::int64_t i, int) { std::memset(memory.get() + i * kPiece, 1, kPiece); });
    rates.read_bytes = static_cast<double>(kBytes) / shortest([&] {
                         pool_.run(kPieces, [&](std::int64_t i, int) { read(memory.get() + i * kPiece, kPiece); });
                       });
  }
  double operations = 0;  // of one piece
  const double seconds = shortest([&] {
    pool_.run(kPieces, [&](std::int64_t i, int) {
      const double done = multiply_add(isa_);
      if (i == 0) operations = done;
    });
  });
  rates.operations = operations * kPieces / seconds;
  return rates;
}

}  // namespace strata
