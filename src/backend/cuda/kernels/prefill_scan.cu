// The recurrence of mamba.cu, term by term, arranged for throughput: B and C lie in shared memory so that a lane reads
// its values of them 16 bytes at a time, a thread has two rows of the state to use them for, and the sums over a row's
// lanes are made for several tokens at once, each lane ending up with one of them.
#include <type_traits>

#include "backend/cuda/kernels/prefill_scan.h"
#include "backend/cuda/kernels/primitives.cuh"

namespace strata::cuda {
namespace {

/// Lanes that share a row, threads of a block, tokens in shared memory at a time, tokens whose steps are made at a
/// time.
constexpr int kRowLanes = 8, kThreads = 128, kStage = 8, kSteps = 32;

/// kValues: of a row's state, in each of its lanes: n = lane + 8 i. kRows: rows of a thread.
template <int kValues, int kRows>
__global__ void __launch_bounds__(kThreads)
    prefill_scan_kernel(DeviceBatch batch, ConstRows xBC, ConstRows dt, const float* A_log, const float* D,
                        const float* dt_bias, ScanShape shape, float* states, Rows out) {
  constexpr int kBlockRows = kThreads / kRowLanes * kRows;
  constexpr int kLane = kValues + 4;  // floats from one lane's values to the next: banks apart
  constexpr int kTokens = kRowLanes / kRows;
  constexpr int kMostN = kValues * kRowLanes;
  __shared__ float4 inputs[2][kStage][2][kRowLanes * kLane / 4];  // B and C
  __shared__ float X[2][kStage][kBlockRows];
  __shared__ float2 steps[2][kSteps];  // dt, and the decay it makes
  wait_for_predecessors();
  const DeviceSequence s = batch.sequence(static_cast<int>(blockIdx.z));
  const int head = blockIdx.y, N = static_cast<int>(shape.state_size), P = static_cast<int>(shape.head_dim);
  const int tid = threadIdx.x, lane = tid % kRowLanes, first_row = static_cast<int>(blockIdx.x) * kBlockRows;
  const int row = tid / kRowLanes * kRows;  // of the block's
  const int group = head / static_cast<int>(shape.heads / shape.groups);
  const std::int64_t b_at = shape.heads * P + group * N, c_at = b_at + shape.groups * N;
  float* state = states + ((s.slot * shape.heads + head) * P + first_row + row) * N;

  float S[kRows][kValues];
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const int n = lane + i * kRowLanes;
      S[r][i] = first_row + row + r < P && n < N ? state[r * N + n] : 0.0f;
    }
  const float rate = -expf(A_log[head]), skip = D[head], bias = dt_bias[head];

  // What the next tokens need, on its way while these are summed: four values of B or C a piece.
  constexpr int kPieces = kStage * 2 * kMostN / 4 / kThreads, kXs = (kStage * kBlockRows + kThreads - 1) / kThreads;
  static_assert(kStage * 2 * kMostN / 4 % kThreads == 0);
  float4 next[kPieces];
  float next_X[kXs], next_dt = 0;
  const auto fetch = [&](int first) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int piece = tid + i * kThreads, t = piece / (2 * kMostN / 4), part = piece % (2 * kMostN / 4);
      const int n = part % (kMostN / 4) * 4;
      const bool there = first + t < s.count && n < N;
      const float* from = xBC.data + (s.first_row + first + t) * xBC.stride + (part < kMostN / 4 ? b_at : c_at) + n;
      next[i] = there ? *reinterpret_cast<const float4*>(from) : float4{0, 0, 0, 0};
    }
#pragma unroll
    for (int i = 0; i < kXs; ++i) {
      const int at = tid + i * kThreads, t = at / kBlockRows, p = first_row + at % kBlockRows;
      next_X[i] = first + t < s.count && t < kStage && p < P
                      ? xBC.data[(s.first_row + first + t) * xBC.stride + head * P + p]
                      : 0.0f;
    }
  };
  const auto fetch_dt = [&](int first) {
    if (tid < kSteps && first + tid < s.count) next_dt = dt.data[(s.first_row + first + tid) * dt.stride + head];
  };
  fetch(0);
  fetch_dt(0);
  for (int first = 0, at = 0; first < s.count; first += kStage, at ^= 1) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int piece = tid + i * kThreads, t = piece / (2 * kMostN / 4), part = piece % (2 * kMostN / 4);
      const int n = part % (kMostN / 4) * 4;
      float* to = reinterpret_cast<float*>(inputs[at][t][part / (kMostN / 4)]) + n % kRowLanes * kLane + n / kRowLanes;
      to[0] = next[i].x, to[kLane] = next[i].y, to[2 * kLane] = next[i].z, to[3 * kLane] = next[i].w;
    }
#pragma unroll
    for (int i = 0; i < kXs; ++i)
      if (tid + i * kThreads < kStage * kBlockRows)
        X[at][(tid + i * kThreads) / kBlockRows][(tid + i * kThreads) % kBlockRows] = next_X[i];
    if (first % kSteps == 0) {
      if (tid < kSteps) {
        const float v = next_dt + bias;
        const float step = fminf(fmaxf(v > 20.0f ? v : log1pf(expf(v)), shape.dt_min), shape.dt_max);
        steps[first / kSteps % 2][tid] = {step, expf(rate * step)};
      }
      fetch_dt(first + kSteps);
    }
    __syncthreads();
    if (first + kStage < s.count) fetch(first + kStage);
    const float2* step_of = steps[first / kSteps % 2] + first % kSteps;
    const int tokens = min(kStage, s.count - first);
    // All tokens of a group in one run of instructions, or (full: false) as many as there are.
    const auto scan_group = [&](int t0, auto full) {
      float y[kTokens][kRows];
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const float2 step = step_of[t0 + t];
        const float4 *b = inputs[at][t0 + t][0] + lane * (kLane / 4), *c = inputs[at][t0 + t][1] + lane * (kLane / 4);
        const bool real = decltype(full)::value || t0 + t < tokens;
        float added[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          added[r] = step.x * X[at][t0 + t][row + r];
          y[t][r] = 0;
        }
        if (real)
#pragma unroll
          for (int q = 0; q < kValues / 4; ++q) {
            const float4 bs = b[q], cs = c[q];
            const float B[4] = {bs.x, bs.y, bs.z, bs.w}, C[4] = {cs.x, cs.y, cs.z, cs.w};
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
              for (int r = 0; r < kRows; ++r) {
                float& value = S[r][q * 4 + i];
                value = fmaf(added[r], B[i], step.y * value);
                y[t][r] = fmaf(value, C[i], y[t][r]);
              }
          }
      }
      // Sums over the row's lanes, 4 apart, then 2, then 1: at each step a lane keeps half of its sums.
      float sums[kRowLanes];
#pragma unroll
      for (int i = 0; i < kRowLanes; ++i) sums[i] = y[i / kRows][i % kRows];
#pragma unroll
      for (int half = kRowLanes / 2; half > 0; half /= 2) {
        const bool upper = lane & half;
#pragma unroll
        for (int i = 0; i < half; ++i) {
          const float kept = upper ? sums[i + half] : sums[i], sent = upper ? sums[i] : sums[i + half];
          sums[i] = kept + __shfl_xor_sync(kAllLanes, sent, half);
        }
      }
      const int t = t0 + lane / kRows, r = row + lane % kRows;
      if (t < tokens && first_row + r < P)
        out.data[(s.first_row + first + t) * out.stride + head * P + first_row + r] = fmaf(skip, X[at][t][r], sums[0]);
    };
#pragma unroll
    for (int t0 = 0; t0 < kStage; t0 += kTokens) {
      if (t0 + kTokens <= tokens) {
        scan_group(t0, std::true_type{});
      } else if (t0 < tokens) {
        scan_group(t0, std::false_type{});
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const int n = lane + i * kRowLanes;
      if (first_row + row + r < P && n < N) state[r * N + n] = S[r][i];
    }
}

template <int kValues, int kRows>
void launch_scan(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
                 const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state,
                 Rows out) {
  constexpr std::int64_t kBlockRows = kThreads / kRowLanes * kRows;
  const dim3 grid(static_cast<unsigned>((shape.head_dim + kBlockRows - 1) / kBlockRows),
                  static_cast<unsigned>(shape.heads), static_cast<unsigned>(sequences));
  launch(to, "prefill_scan_kernel", prefill_scan_kernel<kValues, kRows>, grid, kThreads, 0, batch, xBC, dt, A_log, D,
         dt_bias, shape, state, out);
}

}  // namespace

bool fits_prefill_scan(ConstRows xBC, const ScanShape& shape) {
  return shape.state_size > 4 * kRowLanes && shape.state_size % 4 == 0 && shape.heads * shape.head_dim % 4 == 0 &&
         xBC.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(xBC.data) % 16 == 0;
}

void prefill_scan(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
                  const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state,
                  Rows out) {
  // As in ssd_scan: zeros past the state's end are part of a sum's order.
  const auto scan = shape.state_size <= 16 * kRowLanes ? launch_scan<16, 2> : launch_scan<32, 1>;
  scan(to, batch, sequences, xBC, dt, A_log, D, dt_bias, shape, state, out);
}

}  // namespace strata::cuda
