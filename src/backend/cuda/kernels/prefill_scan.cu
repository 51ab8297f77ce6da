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

// The same for states of 128 values a row, as the releases have. What limits it is how much of B and C registers get
// from shared memory, so a thread has four rows, and half of one of the eight parts that a row is summed in (n = part
// + 8 i): two warps sum i < 8, and two go on with i >= 8, one stage of tokens later. Four more bring the inputs and add
// the parts, in the order that the lanes of the other kernel add them in.
constexpr int kParts = 8, kHalf = 8, kPartRows = 32, kRowsEach = 4, kPartStage = 8;
constexpr int kScanners = kParts * 2 * kPartRows / kRowsEach, kHelpers = 128;
static_assert(kSteps % kPartStage == 0 && kSteps / kPartStage >= 4);

struct PartShared {
  float inputs[3][kPartStage][2][kParts][2 * kHalf + 4];               // B and C; parts are banks apart
  float X[4][kPartStage][kPartRows], added[4][kPartStage][kPartRows];  // x, and dt x
  float sums[3][kPartStage][kParts][kPartRows];
  float2 steps[2][kSteps];  // dt, and the decay it makes
};

/// What a scanner reads for one token.
struct PartInputs {
  float4 b[kHalf / 4], c[kHalf / 4], added, y;
  float decay;
};

__global__ void __launch_bounds__(kScanners + kHelpers, 1)
    prefill_scan_parts_kernel(DeviceBatch batch, ConstRows xBC, ConstRows dt, const float* A_log, const float* D,
                              const float* dt_bias, ScanShape shape, float* states, Rows out) {
  constexpr int kN = 2 * kHalf * kParts;
  extern __shared__ float4 memory[];
  PartShared& shared = *reinterpret_cast<PartShared*>(memory);
  wait_for_predecessors();
  const DeviceSequence s = batch.sequence(static_cast<int>(blockIdx.z));
  const int head = blockIdx.y, P = static_cast<int>(shape.head_dim), first_p = static_cast<int>(blockIdx.x) * kPartRows;
  const int group = head / static_cast<int>(shape.heads / shape.groups);
  const std::int64_t x_at = head * P + first_p, b_at = shape.heads * P + group * kN, c_at = b_at + shape.groups * kN;
  const int stages = (s.count + kPartStage - 1) / kPartStage;

  const bool helps = threadIdx.x >= kScanners;

  // What helpers do.
  const int tid = static_cast<int>(threadIdx.x) - kScanners;
  const float rate = -expf(A_log[head]), skip = D[head], bias = dt_bias[head];
  constexpr int kPieces = kPartStage * 2 * kN / 4 / kHelpers, kXPieces = kPartStage * kPartRows / 4;
  static_assert(kXPieces <= kHelpers && kSteps <= 32);
  float4 next[kPieces], next_X{0, 0, 0, 0};
  const auto fetch = [&](int stage) {
    const int first = stage * kPartStage;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int piece = tid + i * kHelpers, t = piece / (2 * kN / 4), at = piece % (2 * kN / 4);
      const float* from = xBC.data + (s.first_row + first + t) * xBC.stride + (at < kN / 4 ? b_at : c_at);
      next[i] = first + t < s.count ? *reinterpret_cast<const float4*>(from + at % (kN / 4) * 4) : float4{0, 0, 0, 0};
    }
    const int t = tid / (kPartRows / 4);
    if (tid < kXPieces && first + t < s.count)
      next_X = *reinterpret_cast<const float4*>(xBC.data + (s.first_row + first + t) * xBC.stride + x_at +
                                                tid % (kPartRows / 4) * 4);
  };
  float next_dt = 0;
  const auto fetch_dt = [&](int first) {
    if (tid < kSteps && first + tid < s.count) next_dt = dt.data[(s.first_row + first + tid) * dt.stride + head];
  };
  const auto make_steps = [&](int first) {
    if (tid >= kSteps) return;
    const float v = next_dt + bias;
    const float step = fminf(fmaxf(v > 20.0f ? v : log1pf(expf(v)), shape.dt_min), shape.dt_max);
    shared.steps[first / kSteps % 2][tid] = {step, expf(rate * step)};
  };
  const auto store = [&](int stage) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int piece = tid + i * kHelpers, t = piece / (2 * kN / 4), n = piece % (kN / 4) * 4;
      float(*to)[2 * kHalf + 4] = &shared.inputs[stage % 3][t][piece % (2 * kN / 4) / (kN / 4)][n % kParts];
      const int place = n / kParts;
      to[0][place] = next[i].x, to[1][place] = next[i].y, to[2][place] = next[i].z, to[3][place] = next[i].w;
    }
    if (tid >= kXPieces) return;
    const int t = tid / (kPartRows / 4), p = tid % (kPartRows / 4) * 4, token = stage * kPartStage + t;
    const float step = shared.steps[token / kSteps % 2][token % kSteps].x;
    *reinterpret_cast<float4*>(&shared.X[stage % 4][t][p]) = next_X;
    *reinterpret_cast<float4*>(&shared.added[stage % 4][t][p]) = {step * next_X.x, step * next_X.y, step * next_X.z,
                                                                  step * next_X.w};
  };
  const auto help = [&](int k) {
    if (k + 1 < stages) store(k + 1);
    if (k + 2 < stages) {
      fetch(k + 2);
      if ((k + 2) * kPartStage % kSteps == 0) {
        make_steps((k + 2) * kPartStage);
        fetch_dt((k + 2) * kPartStage + kSteps);
      }
    }
    if (k >= 2) {
      const int first = (k - 2) * kPartStage;
#pragma unroll
      for (int i = 0; i < kPartStage * kPartRows / kHelpers; ++i) {
        const int t = tid / kPartRows + i * (kHelpers / kPartRows), p = tid % kPartRows;
        const auto sum = [&](int part) { return shared.sums[(k - 2) % 3][t][part][p]; };
        const float y = ((sum(0) + sum(4)) + (sum(2) + sum(6))) + ((sum(1) + sum(5)) + (sum(3) + sum(7)));
        if (first + t < s.count)
          out.data[(s.first_row + first + t) * out.stride + x_at + p] = fmaf(skip, shared.X[(k - 2) % 4][t][p], y);
      }
    }
  };

  // What scanners do.
  const int later = static_cast<int>(threadIdx.x) / (kScanners / 2);  // i >= 8
  const int part = static_cast<int>(threadIdx.x) / (kPartRows / kRowsEach) % kParts;
  const int row = static_cast<int>(threadIdx.x) % (kPartRows / kRowsEach) * kRowsEach;
  float* state = states + ((s.slot * shape.heads + head) * P + first_p + row) * kN + later * kHalf * kParts + part;
  float S[kRowsEach][kHalf];
  const auto scan_stage = [&](int stage) {
    if (stage < 0 || stage >= stages) return;
    const auto load = [&](int t) {
      PartInputs in;
      const auto* from = reinterpret_cast<const float4*>(&shared.inputs[stage % 3][t][0][part][later * kHalf]);
      constexpr int kToC = kParts * (2 * kHalf + 4) / 4;
      in.b[0] = from[0], in.b[1] = from[1], in.c[0] = from[kToC], in.c[1] = from[kToC + 1];
      in.added = *reinterpret_cast<const float4*>(&shared.added[stage % 4][t][row]);
      in.decay = shared.steps[stage * kPartStage / kSteps % 2][stage * kPartStage % kSteps + t].y;
      in.y = float4{0, 0, 0, 0};
      if (later) in.y = *reinterpret_cast<const float4*>(&shared.sums[stage % 3][t][part][row]);
      return in;
    };
    const int tokens = min(kPartStage, s.count - stage * kPartStage);
    const auto scan = [&](int t, const PartInputs& in) {
      const float B[kHalf] = {in.b[0].x, in.b[0].y, in.b[0].z, in.b[0].w, in.b[1].x, in.b[1].y, in.b[1].z, in.b[1].w};
      const float C[kHalf] = {in.c[0].x, in.c[0].y, in.c[0].z, in.c[0].w, in.c[1].x, in.c[1].y, in.c[1].z, in.c[1].w};
      const float added[kRowsEach] = {in.added.x, in.added.y, in.added.z, in.added.w};
      float y[kRowsEach] = {in.y.x, in.y.y, in.y.z, in.y.w};
#pragma unroll
      for (int i = 0; i < kHalf; ++i)
#pragma unroll
        for (int r = 0; r < kRowsEach; ++r) {
          S[r][i] = fmaf(added[r], B[i], in.decay * S[r][i]);
          y[r] = fmaf(S[r][i], C[i], y[r]);
        }
      *reinterpret_cast<float4*>(&shared.sums[stage % 3][t][part][row]) = float4{y[0], y[1], y[2], y[3]};
    };
    if (tokens == kPartStage) {
      PartInputs in = load(0);
#pragma unroll
      for (int t = 0; t < kPartStage; ++t) {
        PartInputs coming = in;
        if (t + 1 < kPartStage) coming = load(t + 1);
        scan(t, in);
        in = coming;
      }
    } else {
#pragma unroll 1
      for (int t = 0; t < tokens; ++t) scan(t, load(t));
    }
  };

  if (helps) {
    fetch_dt(0);
    fetch(0);
    make_steps(0);
    fetch_dt(kSteps);
  } else {
#pragma unroll
    for (int r = 0; r < kRowsEach; ++r)
#pragma unroll
      for (int i = 0; i < kHalf; ++i) S[r][i] = state[r * kN + i * kParts];
  }
  __syncthreads();
  if (helps) {
    store(0);
    if (1 < stages) fetch(1);
  }
  __syncthreads();
  for (int k = 0; k < stages + 2; ++k) {
    if (helps) {
      help(k);
    } else {
      scan_stage(k - later);
    }
    __syncthreads();
  }
  if (helps) return;
#pragma unroll
  for (int r = 0; r < kRowsEach; ++r)
#pragma unroll
    for (int i = 0; i < kHalf; ++i) state[r * kN + i * kParts] = S[r][i];
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
  if (shape.state_size == 2 * kHalf * kParts && shape.head_dim % kPartRows == 0) {
    static const bool once = [] {
      CUDA_CHECK(cudaFuncSetAttribute(prefill_scan_parts_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(sizeof(PartShared))));
      return true;
    }();
    static_cast<void>(once);
    return launch(to, "prefill_scan_parts_kernel", prefill_scan_parts_kernel,
                  dim3(static_cast<unsigned>(shape.head_dim / kPartRows), static_cast<unsigned>(shape.heads),
                       static_cast<unsigned>(sequences)),
                  kScanners + kHelpers, sizeof(PartShared), batch, xBC, dt, A_log, D, dt_bias, shape, state, out);
  }
  // As in ssd_scan: zeros past the state's end are part of a sum's order.
  const auto scan = shape.state_size <= 16 * kRowLanes ? launch_scan<16, 2> : launch_scan<32, 1>;
  scan(to, batch, sequences, xBC, dt, A_log, D, dt_bias, shape, state, out);
}

}  // namespace strata::cuda
