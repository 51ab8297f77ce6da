// Sums over rows, norms and activations. Sums over n run in 16 lanes, lane = index mod 16, then over a fixed tree.

INLINE F16 splat(float x) {
  F16 r;
  broadcast(r, x);
  return r;
}

// e^x to within 2 ulp; 0 below the smallest subnormal, infinity above the largest float, NaN of NaN.
INLINE F16 exp(F16 x) {
  const F16 clamped = max(splat(-104.0f), min(splat(89.0f), x));
  const F16 n = nearest_integer(clamped * splat(0x1.715476p+0f));
  const F16 r = fma(n, splat(-0x1.7f7d1cp-20f), fma(n, splat(-0x1.62e4p-1f), clamped));
  F16 p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + splat(1.0f);
  // 2^n in two factors: n reaches past the exponents of normal floats at both ends.
  const F16 half = nearest_integer(n * splat(0.5f));
  return p * power_of_two(half) * power_of_two(n - half);
}

INLINE F16 silu(F16 x) { return x / (splat(1.0f) + exp(splat(0.0f) - x)); }

void add(const float* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 a, b;
    load_n(a, x + i, n - i);
    load_n(b, out + i, n - i);
    store_n(out + i, b + a, n - i);
  }
}

void relu_squared(const float* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v;
    load_n(v, x + i, n - i);
    v = max(splat(0.0f), v);
    store_n(out + i, v * v, n - i);
  }
}

INLINE float inverse_root_mean(F16 squares, std::int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(sum_of_lanes(squares) / float(n) + eps);
}

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  F16 squares = splat(0.0f);
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v;
    load_n(v, x + i, n - i);
    squares = fma(v, v, squares);
  }
  const F16 scale = splat(inverse_root_mean(squares, n, eps));
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v, w;
    load_n(v, x + i, n - i);
    load_n(w, weight + i, n - i);
    store_n(out + i, v * scale * w, n - i);
  }
}

void gated_rms_norm(const float* y, const float* z, const float* weight, std::int64_t n, float eps, float* out) {
  F16 squares = splat(0.0f);
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v, gate;
    load_n(v, y + i, n - i);
    load_n(gate, z + i, n - i);
    v = v * silu(gate);
    squares = fma(v, v, squares);
    store_n(out + i, v, n - i);
  }
  const F16 scale = splat(inverse_root_mean(squares, n, eps));
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v, w;
    load_n(v, out + i, n - i);
    load_n(w, weight + i, n - i);
    store_n(out + i, v * scale * w, n - i);
  }
}

void weighted_sum(const float* const* rows, const float* weights, std::int64_t count, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 sum = splat(0.0f);
    for (std::int64_t r = 0; r < count; ++r) {
      F16 v;
      load_n(v, rows[r] + i, n - i);
      sum = sum + splat(weights[r]) * v;
    }
    store_n(out + i, sum, n - i);
  }
}

template <int kRows>
INLINE void dots_of(const float* x, const float* w, std::int64_t stride, std::int64_t n, float* out) {
  F16 sum[kRows];
  for (int r = 0; r < kRows; ++r) sum[r] = splat(0.0f);
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v;
    load_n(v, x + i, n - i);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      F16 weight;
      load_n(weight, w + r * stride + i, n - i);
      sum[r] = fma(v, weight, sum[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) out[r] = sum_of_lanes(sum[r]);
}

void dots(const float* x, const float* w, std::int64_t stride, std::int64_t rows, std::int64_t n, float* out) {
  std::int64_t r = 0;
  for (; r + kDotRows <= rows; r += kDotRows) dots_of<kDotRows>(x, w + r * stride, stride, n, out + r);
  for (; r < rows; ++r) dots_of<1>(x, w + r * stride, stride, n, out + r);
}

INLINE F16 load_bf16_n(const std::uint16_t* p, std::int64_t n) {
  F16 v;
  if (n >= 16) {
    load_bf16(v, p);
    return v;
  }
  std::uint16_t padded[16] = {};
  __builtin_memcpy(padded, p, 2 * std::size_t(n));
  load_bf16(v, padded);
  return v;
}

// Values that are bf16 already.
INLINE void store_bf16_n(std::uint16_t* p, F16 v, std::int64_t n) {
  std::uint32_t bits[16];
  store(reinterpret_cast<float*>(bits), v);
  std::uint16_t halves[16];
  for (int i = 0; i < 16; ++i) halves[i] = std::uint16_t(bits[i] >> 16);
  if (n >= 16)
    __builtin_memcpy(p, halves, 32);
  else
    __builtin_memcpy(p, halves, 2 * std::size_t(n));
}
