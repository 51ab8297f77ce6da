// Activations of linear layers as bf16, so that 32 bits hold a pair of them.

using Activation = std::uint16_t;

INLINE void broadcast_activation(F16& o, const Activation* x) {
  o.v = _mm512_castsi512_ps(_mm512_set1_epi32(int(std::uint32_t(*x) << 16)));
}

INLINE __m512bh activation_pair(const Activation* x) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, x, 4);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(int(bits)));
}

// sum + the lane's pair of bf16 numbers times the two activations at x.
INLINE F16 add_pair(U16 pair, const Activation* x, F16 sum) {
  return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(pair.v), activation_pair(x))};
}

INLINE void store_activations(Activation* to, F16 v, std::int64_t n) {
  const __m512i words = _mm512_srli_epi32(_mm512_castps_si512(to_bf16(v).v), 16);
  _mm512_mask_cvtepi32_storeu_epi16(to, first_lanes(n), words);
}

// `n` values, then zeros up to `padded`.
void round_activations(const float* x, std::int64_t n, std::int64_t padded, void* out) {
  auto* to = static_cast<Activation*>(out);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    F16 v;
    load(v, x + i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(to_bf16(v).v), 16)));
  }
  for (; i < padded; i += 16) {
    F16 v;
    load_n(v, x + i, n - i);
    store_activations(to + i, v, padded - i);
  }
}

void relu_squared_activations(const float* x, std::int64_t n, void* out) {
  auto* to = static_cast<Activation*>(out);
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v;
    load_n(v, x + i, n - i);
    v.v = _mm512_max_ps(_mm512_setzero_ps(), v.v);
    store_activations(to + i, v * v, n - i);
  }
}
