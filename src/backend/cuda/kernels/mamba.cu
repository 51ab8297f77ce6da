// S <- exp(-dt exp(A_log)) S + dt x B^T;  y = S C + D x, token after token, in float32. A chunked form with matrix
// products is faster for long prompts and gives other bits for other cuts of them, so it isn't used.
#include "backend/cuda/kernels/mamba.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

namespace strata::cuda {
namespace {

__global__ void __launch_bounds__(128)
    conv_kernel(DeviceBatch batch, ConstRows x, const float* kernel, const float* bias, std::uint16_t* states,
                std::int64_t channels, int width, Rows out) {
  wait_for_predecessors();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const Span span = batch.span(static_cast<int>(blockIdx.y));
  const DeviceSequence s = batch.sequence(span.sequence);
  const int tail = width - 1, last = min(s.count, span.first + kSpanRows);
  std::uint16_t* state = states + static_cast<std::int64_t>(s.slot) * tail * channels + c;
  // Input i of the sequence's new ones; those before 0 are the state's.
  const auto input = [&](int i) {
    return i < 0 ? state[(tail + i) * channels] : bits_of_bf16(x.data[(s.first_row + i) * x.stride + c]);
  };
  for (int i = span.first; i < last; ++i) {
    float sum = bias ? bias[c] : 0.0f;
    for (int k = 0; k < width; ++k) sum = fmaf(kernel[c * width + k], float_of_bf16(input(i - tail + k)), sum);
    out.data[(s.first_row + i) * out.stride + c] = silu(sum);
  }
  // Only the first span reads the state, so it is the one to renew it. Oldest first: what is read lies further on.
  if (span.first == 0)
    for (int k = 0; k < tail; ++k) state[k * channels] = input(s.count - tail + k);
}

/// Rows of the state that a block keeps in registers, and lanes that share a row.
constexpr int kBlockRows = 16, kRowLanes = 8, kScanThreads = kBlockRows * kRowLanes;
/// Tokens that are brought to shared memory at a time.
constexpr int kScanTokens = 8;

/// kValues: of a row's state, in each of its lanes: n = lane + 8 i.
template <int kValues>
__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(DeviceBatch batch, ConstRows xBC, ConstRows dt, const float* A_log, const float* D,
                const float* dt_bias, ScanShape shape, float* states, Rows out) {
  __shared__ float B[kScanTokens][kValues * kRowLanes], C[kScanTokens][kValues * kRowLanes], X[kScanTokens][kBlockRows];
  __shared__ float steps[kScanTokens], decays[kScanTokens];
  wait_for_predecessors();
  const DeviceSequence s = batch.sequence(static_cast<int>(blockIdx.z));
  const std::int64_t head = blockIdx.y, N = shape.state_size, P = shape.head_dim;
  const int row = threadIdx.x / kRowLanes, lane = threadIdx.x % kRowLanes;
  const std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * kBlockRows + row;
  const bool there = p < P;
  const std::int64_t group = head / (shape.heads / shape.groups);
  const std::int64_t b_at = shape.heads * P + group * N, c_at = b_at + shape.groups * N;
  float* state = states + ((s.slot * shape.heads + head) * P + p) * N;

  float S[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int n = lane + i * kRowLanes;
    S[i] = there && n < N ? state[n] : 0.0f;
  }
  const float rate = -expf(A_log[head]), skip = D[head], bias = dt_bias[head];
  // Thread -> (column) of what a batch of tokens needs; the next batch's loads are under way while this one is summed.
  constexpr int kColumns = (kValues * kRowLanes + kScanThreads - 1) / kScanThreads;
  float next_B[kScanTokens][kColumns], next_C[kScanTokens][kColumns], next_X[kScanTokens / 8], next_dt = 0;
  const auto fetch = [&](int first) {
#pragma unroll
    for (int t = 0; t < kScanTokens; ++t) {
      const bool inside = first + t < s.count;
      const float* in = xBC.data + (s.first_row + first + t) * xBC.stride;
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const int n = threadIdx.x + i * kScanThreads;
        next_B[t][i] = inside && n < N ? in[b_at + n] : 0.0f;
        next_C[t][i] = inside && n < N ? in[c_at + n] : 0.0f;
      }
    }
#pragma unroll
    for (int i = 0; i < kScanTokens / 8; ++i) {
      const int t = threadIdx.x / kBlockRows + i * 8;
      const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kBlockRows + threadIdx.x % kBlockRows;
      next_X[i] =
          first + t < s.count && at < P ? xBC.data[(s.first_row + first + t) * xBC.stride + head * P + at] : 0.0f;
    }
    const int t = first + static_cast<int>(threadIdx.x);
    if (threadIdx.x < kScanTokens && t < s.count) next_dt = dt.data[(s.first_row + t) * dt.stride + head];
  };
  fetch(0);
  for (int first = 0; first < s.count; first += kScanTokens) {
    const int tokens = min(kScanTokens, s.count - first);
    __syncthreads();
#pragma unroll
    for (int t = 0; t < kScanTokens; ++t)
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const int n = threadIdx.x + i * kScanThreads;
        if (n < kValues * kRowLanes) B[t][n] = next_B[t][i], C[t][n] = next_C[t][i];
      }
#pragma unroll
    for (int i = 0; i < kScanTokens / 8; ++i) X[threadIdx.x / kBlockRows + i * 8][threadIdx.x % kBlockRows] = next_X[i];
    if (static_cast<int>(threadIdx.x) < tokens) {
      const float v = next_dt + bias;
      const float step = fminf(fmaxf(v > 20.0f ? v : log1pf(expf(v)), shape.dt_min), shape.dt_max);
      steps[threadIdx.x] = step;
      decays[threadIdx.x] = expf(rate * step);
    }
    __syncthreads();
    if (first + kScanTokens < s.count) fetch(first + kScanTokens);
    for (int t = 0; t < tokens; ++t) {
      const float decay = decays[t], x = X[t][row], added = steps[t] * x;
      float y = 0;
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        const int n = lane + i * kRowLanes;
        S[i] = fmaf(added, B[t][n], decay * S[i]);
        y = fmaf(S[i], C[t][n], y);
      }
#pragma unroll
      for (int step = kRowLanes / 2; step > 0; step /= 2) y += __shfl_xor_sync(kAllLanes, y, step);
      if (there && lane == 0) out.data[(s.first_row + first + t) * out.stride + head * P + p] = fmaf(skip, x, y);
    }
  }
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int n = lane + i * kRowLanes;
    if (there && n < N) state[n] = S[i];
  }
}

}  // namespace

void causal_conv1d_silu(const Launch& to, DeviceBatch batch, std::int64_t spans, ConstRows x, const float* kernel,
                        const float* bias, std::uint16_t* state, std::int64_t channels, std::int64_t width, Rows out) {
  CHECK(width <= kSpanRows, "taps of a convolution");
  launch(to, "conv_kernel", conv_kernel,
         dim3(static_cast<unsigned>((channels + 127) / 128), static_cast<unsigned>(spans)), 128, 0, batch, x, kernel,
         bias, state, channels, static_cast<int>(width), out);
}

void ssd_scan(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
              const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state,
              Rows out) {
  CHECK(shape.state_size <= kMostStateSize, "values of a row of the state");
  const dim3 grid(static_cast<unsigned>((shape.head_dim + kBlockRows - 1) / kBlockRows),
                  static_cast<unsigned>(shape.heads), static_cast<unsigned>(sequences));
  const auto go = [&](auto kernel) {
    launch(to, "scan_kernel", kernel, grid, kScanThreads, 0, batch, xBC, dt, A_log, D, dt_bias, shape, state, out);
  };
  if (shape.state_size <= 4 * kRowLanes) return go(scan_kernel<4>);
  if (shape.state_size <= 16 * kRowLanes) return go(scan_kernel<16>);
  go(scan_kernel<32>);
}

}  // namespace strata::cuda
