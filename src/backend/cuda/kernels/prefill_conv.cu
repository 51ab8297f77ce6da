// The convolution of mamba.cu for prompts: a thread takes a channel of one span of tokens, asks for eight inputs at
// once and keeps the last ones, so that each is read once. Sums have the same order.
#include "backend/cuda/kernels/prefill_scan.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

constexpr int kTaps = 4, kTogether = 8;

__global__ void __launch_bounds__(128)
    prefill_conv_kernel(DeviceBatch batch, ConstRows x, const float* kernel, const float* bias, std::uint16_t* states,
                        std::int64_t channels, Rows out) {
  static_assert(kSpanRows % kTogether == 0);
  wait_for_predecessors();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const Span span = batch.span(static_cast<int>(blockIdx.y));
  const DeviceSequence s = batch.sequence(span.sequence);
  constexpr int kTail = kTaps - 1;
  const int last = min(s.count, span.first + kSpanRows);
  std::uint16_t* state = states + static_cast<std::int64_t>(s.slot) * kTail * channels + c;
  const float* from = x.data + s.first_row * x.stride + c;
  // Input i of the sequence's new ones; those before 0 are the state's.
  const auto input = [&](int i) { return i < 0 ? state[(kTail + i) * channels] : bits_of_bf16(from[i * x.stride]); };
  float taps[kTaps], window[kTaps];
#pragma unroll
  for (int k = 0; k < kTaps; ++k) taps[k] = kernel[c * kTaps + k];
#pragma unroll
  for (int k = 0; k < kTail; ++k) window[k + 1] = float_of_bf16(input(span.first - kTail + k));
  const float first_sum = bias ? bias[c] : 0.0f;
  for (int i = span.first; i < last; i += kTogether) {
    float coming[kTogether];
#pragma unroll
    for (int j = 0; j < kTogether; ++j) coming[j] = i + j < last ? from[(i + j) * x.stride] : 0.0f;
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
#pragma unroll
      for (int k = 0; k < kTail; ++k) window[k] = window[k + 1];
      window[kTail] = float_of_bf16(bits_of_bf16(coming[j]));
      float sum = first_sum;
#pragma unroll
      for (int k = 0; k < kTaps; ++k) sum = fmaf(taps[k], window[k], sum);
      if (i + j < last) out.data[(s.first_row + i + j) * out.stride + c] = silu(sum);
    }
  }
  // Only the first span reads the state, so it is the one to renew it. Oldest first: what is read lies further on.
  if (span.first == 0)
    for (int k = 0; k < kTail; ++k) state[k * channels] = input(s.count - kTail + k);
}

}  // namespace

bool fits_prefill_conv(std::int64_t width) { return width == kTaps; }

void prefill_conv(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows x, const float* kernel,
                  const float* bias, std::uint16_t* state, std::int64_t channels, std::int64_t width, Rows out) {
  CHECK(fits_prefill_conv(width), "taps of a convolution");
  launch(to, "prefill_conv_kernel", prefill_conv_kernel,
         dim3(static_cast<unsigned>((channels + 127) / 128), static_cast<unsigned>(spans)), 128, 0, batch, x, kernel,
         bias, state, channels, out);
}

}  // namespace strata::cuda
