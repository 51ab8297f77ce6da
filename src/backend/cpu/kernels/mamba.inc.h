// The causal convolution and the scan of Mamba-2.

constexpr std::int64_t kConvChannels = 128;

// Taps by position, so that a lane is a channel: out[k][channel] = kernel[channel][k].
template <int kWidth>
INLINE void load_taps(const ConvPart& c, float (*__restrict taps)[kConvChannels], std::int64_t width) {
  const float* __restrict kernel = c.kernel + c.first * width;
  if constexpr (kWidth == 4) {
    // Four statements, not a loop of four: so the compiler shuffles vectors instead of moving single floats.
    for (std::int64_t i = 0; i < c.channels; ++i) {
      taps[0][i] = kernel[4 * i];
      taps[1][i] = kernel[4 * i + 1];
      taps[2][i] = kernel[4 * i + 2];
      taps[3][i] = kernel[4 * i + 3];
    }
  } else {
    for (std::int64_t i = 0; i < c.channels; ++i)
      for (std::int64_t k = 0; k < width; ++k) taps[k][i] = kernel[i * width + k];
  }
}

// `recent` is a ring of the last `width` inputs, rounded: the input of row t of this step in entry t mod width, that of
// the state's row j in entry j + 1.
template <int kWidth>
INLINE void conv_channels(const ConvPart& c, float (*taps)[kConvChannels], float (*recent)[kConvChannels]) {
  const std::int64_t width = kWidth > 0 ? kWidth : c.width;
  load_taps<kWidth>(c, taps, width);
  for (std::int64_t j = 0; j + 1 < width; ++j)
    for (std::int64_t i = 0; i < c.channels; i += 16)
      store(recent[j + 1] + i, load_bf16_n(c.state + j * c.all_channels + c.first + i, c.channels - i));
  std::int64_t newest = 0;
  for (std::int64_t t = 0; t < c.count; ++t) {
    for (std::int64_t i = 0; i < c.channels; i += 16) {
      F16 sum, v, tap;
      load_n(v, c.x + t * c.x_stride + c.first + i, c.channels - i);
      store(recent[newest] + i, to_bf16(v));
      load_n(sum, c.bias + c.first + i, c.channels - i);
      std::int64_t entry = newest;
#pragma GCC unroll 4
      for (std::int64_t k = 0; k < width; ++k) {
        entry = entry + 1 == width ? 0 : entry + 1;  // the oldest follows the newest
        load(tap, taps[k] + i);
        load(v, recent[entry] + i);
        sum = fma(tap, v, sum);
      }
      store_n(c.out + t * c.out_stride + c.first + i, silu(sum), c.channels - i);
    }
    newest = newest + 1 == width ? 0 : newest + 1;
  }
  // `newest` is one past the last input by now: the oldest entry, which the state no longer wants.
  for (std::int64_t j = 0; j + 1 < width; ++j)
    for (std::int64_t i = 0; i < c.channels; i += 16) {
      F16 v;
      load(v, recent[(newest + 1 + j) % width] + i);
      store_bf16_n(c.state + j * c.all_channels + c.first + i, v, c.channels - i);
    }
}

void conv(const ConvPart& c) {
  alignas(64) float taps[kMaxConvWidth][kConvChannels];
  alignas(64) float recent[kMaxConvWidth][kConvChannels];
  if (c.width == 4)
    conv_channels<4>(c, taps, recent);
  else
    conv_channels<0>(c, taps, recent);
}

// kRows rows of the state over `count` tokens, a row kChunks whole vectors that stay in registers.
template <int kRows, int kChunks>
INLINE void scan_rows(const ScanPart& s, std::int64_t i, std::int64_t first, std::int64_t count) {
  float* S = s.state + i * s.state_size;
  F16 h[kRows][kChunks];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) load(h[r][c], S + r * s.state_size + 16 * c);
  for (std::int64_t t = first; t < first + count; ++t) {
    const float* x = s.x + t * s.in_stride + i;
    const float *B = s.B + t * s.in_stride, *C = s.C + t * s.in_stride;
    const F16 decay = splat(s.decay[t]);
    F16 sum[kRows], dt_x[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      sum[r] = splat(0.0f);
      dt_x[r] = splat(s.dt[t] * x[r]);
    }
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) {
      F16 b, read;
      load(b, B + 16 * c);
      load(read, C + 16 * c);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        h[r][c] = fma(h[r][c], decay, dt_x[r] * b);
        sum[r] = fma(h[r][c], read, sum[r]);
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) s.out[t * s.out_stride + i + r] = sum_of_lanes(sum[r]) + s.D * x[r];
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) store(S + r * s.state_size + 16 * c, h[r][c]);
}

// One row of any length, in memory.
INLINE void scan_row(const ScanPart& s, std::int64_t i, std::int64_t first, std::int64_t count) {
  float* S = s.state + i * s.state_size;
  for (std::int64_t t = first; t < first + count; ++t) {
    const float x = s.x[t * s.in_stride + i];
    const float *B = s.B + t * s.in_stride, *C = s.C + t * s.in_stride;
    const F16 decay = splat(s.decay[t]), dt_x = splat(s.dt[t] * x);
    F16 sum = splat(0.0f);
    for (std::int64_t n = 0; n < s.state_size; n += 16) {
      F16 state, b, read;
      load_n(state, S + n, s.state_size - n);
      load_n(b, B + n, s.state_size - n);
      load_n(read, C + n, s.state_size - n);
      state = fma(state, decay, dt_x * b);
      sum = fma(state, read, sum);
      store_n(S + n, state, s.state_size - n);
    }
    s.out[t * s.out_stride + i] = sum_of_lanes(sum) + s.D * x;
  }
}

void scan(const ScanPart& s) {
  constexpr std::int64_t kTokens = 16;  // their B and C stay in the first-level cache while all rows pass
  for (std::int64_t t = 0; t < s.count; t += kTokens) {
    const std::int64_t count = t + kTokens < s.count ? kTokens : s.count - t;
    std::int64_t i = 0;
    if (s.state_size == 128)
      for (; i + 2 <= s.rows; i += 2) scan_rows<2, 8>(s, i, t, count);
    else if (s.state_size == 64)
      for (; i + 2 <= s.rows; i += 2) scan_rows<2, 4>(s, i, t, count);
    for (; i < s.rows; ++i) scan_row(s, i, t, count);
  }
}
