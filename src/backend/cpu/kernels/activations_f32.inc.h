// Activations of linear layers as f32 values that are bf16 numbers.

using Activation = float;

INLINE void broadcast_activation(F16& o, const Activation* x) { broadcast(o, *x); }

// sum + the lane's pair of bf16 numbers times the two activations at x.
INLINE F16 add_pair(U16 pair, const Activation* x, F16 sum) {
  F16 even, odd;
  broadcast(even, x[0]);
  broadcast(odd, x[1]);
  return fma(bf16_high(pair), odd, fma(bf16_low(pair), even, sum));
}

// `n` values, then zeros up to `padded`.
void round_activations(const float* x, std::int64_t n, std::int64_t padded, void* out) {
  auto* to = static_cast<Activation*>(out);
  std::int64_t i = 0;
  for (; i < n; i += 16) {
    F16 v;
    load_n(v, x + i, n - i);
    store_n(to + i, to_bf16(v), padded - i);
  }
  for (i = n; i < padded; ++i) to[i] = 0;
}

void relu_squared_activations(const float* x, std::int64_t n, void* out) {
  auto* to = static_cast<Activation*>(out);
  for (std::int64_t i = 0; i < n; i += 16) {
    F16 v, zero;
    load_n(v, x + i, n - i);
    broadcast(zero, 0);
    v = max(zero, v);
    store_n(to + i, to_bf16(v * v), n - i);
  }
}
