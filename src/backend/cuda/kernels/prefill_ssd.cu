// Mamba-2's convolution and scan as products of matrices, 128 tokens at a time (the state space dual form): for `fast`
// numerics, since a prompt cut elsewhere gets other roundings. With c the running sum of dt A within a chunk,
//   S  <- exp(c_last) S + sum over j of exp(c_last - c_j) dt_j x_j B_j^T
//   y_i = sum over j <= i of exp(c_i - c_j) dt_j (C_i . B_j) x_j  +  exp(c_i) C_i S^T  +  D x_i
// One kernel convolves, and rounds to float16: 11 bits, as the matrix unit's tf32 has, at twice its rate. One goes
// through the chunks and keeps the float32 state; what the state is where a chunk begins, it leaves rounded. One makes
// the outputs of all chunks at once. What could leave float16's range is scaled by powers of two: dt by the chunk's
// largest, the state by its largest value. Exponents are to base 2.
#include "backend/cuda/kernels/prefill_ssd.cuh"
#include "base/check.h"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

using namespace ssd;

constexpr int kTaps = 4;
/// float16 from one row of x to the next in shared memory.
constexpr int kNarrow = kRows + 8;
/// Dividing dt by 2^4 more than its largest leaves room for the sums of 128 products that it multiplies.
constexpr float kRoom = 4;

// The convolution of prefill_conv.cu for two channels a thread.
__global__ void __launch_bounds__(128)
    prefill_conv_half_kernel(DeviceBatch batch, ConstRows x, const float* kernel, const float* bias,
                             std::uint16_t* states, Memory memory) {
#if __CUDA_ARCH__ == 900
  constexpr int kTogether = 8, kTail = kTaps - 1;
  wait_for_predecessors();
  const std::int64_t channels = memory.channels;
  const std::int64_t c = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 2;
  if (c >= channels) return;
  const Span span = batch.span(static_cast<int>(blockIdx.y));
  const DeviceSequence s = batch.sequence(span.sequence);
  const int last = min(s.count, span.first + kSpanRows);
  std::uint16_t* state = states + static_cast<std::int64_t>(s.slot) * kTail * channels + c;
  const float* from = x.data + s.first_row * x.stride + c;
  const auto input = [&](int i, int which) {  // of the sequence's new ones; those before 0 are the state's
    return i < 0 ? state[(kTail + i) * channels + which] : bits_of_bf16(from[i * x.stride + which]);
  };
  float taps[2][kTaps], window[2][kTaps], first_sum[2];
#pragma unroll
  for (int w = 0; w < 2; ++w) {
#pragma unroll
    for (int k = 0; k < kTaps; ++k) taps[w][k] = kernel[(c + w) * kTaps + k];
#pragma unroll
    for (int k = 0; k < kTail; ++k) window[w][k + 1] = float_of_bf16(input(span.first - kTail + k, w));
    first_sum[w] = bias ? bias[c + w] : 0.0f;
  }
  for (int i = span.first; i < last; i += kTogether) {
    float2 coming[kTogether];
#pragma unroll
    for (int j = 0; j < kTogether; ++j)
      coming[j] = i + j < last ? *reinterpret_cast<const float2*>(from + (i + j) * x.stride) : float2{0, 0};
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      float made[2];
#pragma unroll
      for (int w = 0; w < 2; ++w) {
#pragma unroll
        for (int k = 0; k < kTail; ++k) window[w][k] = window[w][k + 1];
        window[w][kTail] = float_of_bf16(bits_of_bf16(w ? coming[j].y : coming[j].x));
        float sum = first_sum[w];
#pragma unroll
        for (int k = 0; k < kTaps; ++k) sum = fmaf(taps[w][k], window[w][k], sum);
        constexpr float kLargest = 65504;
        made[w] = fminf(fmaxf(__fdividef(sum, 1.0f + __expf(-sum)), -kLargest), kLargest);
      }
      if (i + j < last)
        *reinterpret_cast<unsigned*>(memory.xBC + (s.first_row + i + j) * channels + c) = pack_half2(made[0], made[1]);
    }
  }
  if (span.first == 0)
    for (int k = 0; k < kTail; ++k)
      for (int w = 0; w < 2; ++w) state[k * channels + w] = input(s.count - kTail + k, w);
#endif
}

struct StateInputs {
  __half B[kChunk][kWide], X[kChunk][kNarrow];
};
struct StateShared {
  StateInputs inputs[2];
  float2 steps[2][kChunk];  // c and c - log2 dt, each within its 32 tokens
  float2 totals[2][4];      // of 32 tokens: their sum, and their largest dt
  unsigned largest[2][kThreads / 32];
};

// The states: a block keeps kRows rows of one head's, chunk after chunk. S[m][n] is rows 16 m + {g, g + 8}, columns
// 16 warp + 8 n + 2 t ...
__global__ void __launch_bounds__(kThreads, 1)
    prefill_states_kernel(DeviceBatch batch, ConstRows dt, const float* A_log, const float* dt_bias, ScanShape shape,
                          float* states, Memory memory) {
#if __CUDA_ARCH__ == 900  // its shared memory is more than others have
  extern __shared__ float4 dynamic[];
  StateShared& shared = *reinterpret_cast<StateShared*>(dynamic);
  wait_for_predecessors();
  const int sequence = blockIdx.z, head = blockIdx.y, half = blockIdx.x;
  const DeviceSequence s = batch.sequence(sequence);
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int group = head / static_cast<int>(shape.heads / shape.groups);
  const std::int64_t x_at = head * kP + half * kRows, b_at = shape.heads * kP + group * kN;
  float* state = states + ((s.slot * shape.heads + head) * kP + half * kRows) * kN;
  const float rate = -expf(A_log[head]) * 1.44269504f, bias = dt_bias[head];
  float S[2][2][4];
  const auto each_pair = [&](auto f) {  // f(row, column, the two values)
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int h = 0; h < 2; ++h)
          f(m * 16 + h * 8 + g, warp * 16 + n * 8 + t * 2, S[m][n][h * 2], S[m][n][h * 2 + 1]);
  };
  each_pair([&](int p, int n, float& lo, float& hi) {
    const float2 v = *reinterpret_cast<const float2*>(state + p * kN + n);
    lo = v.x, hi = v.y;
  });

  const auto fetch = [&](int first, StateInputs& to) {
    if (first < s.count) {
#pragma unroll
      for (int i = 0; i < kChunk * kN / 8 / kThreads; ++i) {
        const int at = tid + i * kThreads, j = at / (kN / 8), n = at % (kN / 8) * 8;
        const bool there = first + j < s.count;
        copy_async(&to.B[j][n], memory.xBC + (s.first_row + (there ? first + j : 0)) * memory.channels + b_at + n,
                   there);
      }
#pragma unroll
      for (int i = 0; i < kChunk * kRows / 8 / kThreads; ++i) {
        const int at = tid + i * kThreads, j = at / (kRows / 8), p = at % (kRows / 8) * 8;
        const bool there = first + j < s.count;
        copy_async(&to.X[j][p], memory.xBC + (s.first_row + (there ? first + j : 0)) * memory.channels + x_at + p,
                   there);
      }
    }
    commit_copies();
  };
  float next_dt = 0;
  const auto fetch_dt = [&](int first) {
    if (tid < kChunk && first + tid < s.count) next_dt = dt.data[(s.first_row + first + tid) * dt.stride + head];
  };
  // c of the chunk whose dt have come, within each 32 tokens.
  const auto make_steps = [&](int first, int at) {
    if (tid >= kChunk) return;
    const float v = next_dt + bias;
    float step = fminf(fmaxf(v > 20.0f ? v : log1pf(expf(v)), shape.dt_min), shape.dt_max);
    if (first + tid >= s.count) step = 0;  // neither decays nor adds
    float c = rate * step;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
      const float other = __shfl_up_sync(kAllLanes, c, d);
      if (lane >= d) c += other;
    }
    shared.steps[at][tid] = {c, c - __log2f(step)};
    const unsigned most = __reduce_max_sync(kAllLanes, __float_as_uint(step));
    if (lane == 31) shared.totals[at][warp] = {c, __uint_as_float(most)};
  };
  const auto note_largest = [&](int at) {
    float largest = 0;
    each_pair([&](int, int, float& lo, float& hi) { largest = fmaxf(largest, fmaxf(fabsf(lo), fabsf(hi))); });
    const unsigned most = __reduce_max_sync(kAllLanes, __float_as_uint(largest));
    if (lane == 0) shared.largest[at][warp] = most;
  };
  fetch(0, shared.inputs[0]);
  fetch_dt(0);
  make_steps(0, 0);
  fetch_dt(kChunk);
  note_largest(0);
  for (int first = 0, at = 0; first < s.count; first += kChunk, at ^= 1) {
    wait_for_copies<0>();
    __syncthreads();
    fetch(first + kChunk, shared.inputs[at ^ 1]);
    const StateInputs& in = shared.inputs[at];
    const std::int64_t place = place_of(s, sequence, first / kChunk) * shape.heads + head;

    // The state as it is here, scaled to values below 2^14.
    unsigned most = 0;
#pragma unroll
    for (int w = 0; w < kThreads / 32; ++w) most = max(most, shared.largest[at][w]);
    const int exponent = most == 0 ? 0 : min(max(static_cast<int>(most >> 23) - 127 - 13, -100), 100);
    const float down = __uint_as_float(static_cast<unsigned>(127 - exponent) << 23);
    __half* rounded = memory.states + (place * kP + half * kRows) * kN;
    each_pair([&](int p, int n, float& lo, float& hi) {
      *reinterpret_cast<unsigned*>(rounded + p * kN + n) = pack_half2(lo * down, hi * down);
    });

    float before[5] = {}, most_dt = 0;  // sums of dt A where 32 tokens begin
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const float2 total = shared.totals[at][b];
      before[b + 1] = before[b] + total.x;
      most_dt = fmaxf(most_dt, total.y);
    }
    const float shift = kRoom + (most_dt > 0 ? ceilf(__log2f(most_dt)) : 0.0f);
    if (half == 0 && tid < kChunk && first + tid < s.count) {
      const float2 step = shared.steps[at][tid];
      const float c0 = warp == 0 ? before[0] : warp == 1 ? before[1] : warp == 2 ? before[2] : before[3];
      const std::int64_t to = head * memory.rows + s.first_row + first + tid;
      memory.c[to] = c0 + step.x;
      memory.e[to] = c0 + step.y + shift;
    }
    if (tid == 0) {
      memory.of_state[place * 2 + half] = __uint_as_float(static_cast<unsigned>(127 + exponent) << 23);
      if (half == 0) memory.shifts[place] = shift;
    }

    make_steps(first + kChunk, at ^ 1);
    fetch_dt(first + 2 * kChunk);

    const float decay = exp2_of(before[4] - shift), up = exp2_of(shift);
    each_pair([&](int, int, float& lo, float& hi) { lo *= decay, hi *= decay; });
#pragma unroll
    for (int kb = 0; kb < kChunk / 16; ++kb) {
      const float from = before[4] - before[kb / 2] - shift;
      const auto weights = [&](int j) {
        const float2 lo = shared.steps[at][kb * 16 + j], hi = shared.steps[at][kb * 16 + j + 1];
        return pack_half2(exp2_of(from - lo.y), exp2_of(from - hi.y));
      };
      const unsigned w0 = weights(t * 2), w1 = weights(t * 2 + 8);
      unsigned b[4];
      load_turned(b, &in.B[kb * 16 + lane % 16][warp * 16 + lane / 16 * 8]);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        unsigned a[4];
        load_turned(a, &in.X[kb * 16 + lane / 16 * 8 + lane % 8][m * 16 + lane / 8 % 2 * 8]);
        a[0] = multiply_half2(a[0], w0), a[1] = multiply_half2(a[1], w0);
        a[2] = multiply_half2(a[2], w1), a[3] = multiply_half2(a[3], w1);
        multiply_half(S[m][0], a, b[0], b[1]);
        multiply_half(S[m][1], a, b[2], b[3]);
      }
    }
    each_pair([&](int, int, float& lo, float& hi) { lo *= up, hi *= up; });
    note_largest(at ^ 1);
  }
  each_pair([&](int p, int n, float& lo, float& hi) {
    *reinterpret_cast<float2*>(state + p * kN + n) = float2{lo, hi};
  });
#endif
}

std::int64_t places(std::int64_t rows, std::int64_t sequences) { return rows / kChunk + sequences + 1; }

/// Cuts `data` up; gives where it ends.
std::byte* cut_up(std::byte* data, std::int64_t rows, std::int64_t sequences, const ScanShape& shape, Memory& to) {
  const auto take = [&](auto*& at, std::int64_t n) {
    at = reinterpret_cast<std::remove_reference_t<decltype(at)>>(data);
    data += (n * static_cast<std::int64_t>(sizeof(*at)) + 255) / 256 * 256;
  };
  const std::int64_t all = places(rows, sequences) * shape.heads;
  to.channels = shape.heads * kP + 2 * shape.groups * kN;
  to.rows = rows;
  take(to.xBC, rows * to.channels);
  take(to.c, rows * shape.heads);
  take(to.e, rows * shape.heads);
  take(to.states, all * kP * kN);
  take(to.of_state, all * 2);
  take(to.shifts, all);
  return data;
}

}  // namespace

bool fits_prefill_ssd(ConstRows x, Rows out, const ScanShape& shape, std::int64_t width) {
  return width == kTaps && shape.state_size == kN && shape.head_dim == kP && shape.heads % shape.groups == 0 &&
         shape.heads / shape.groups % kHeads == 0 && x.stride % 2 == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % 8 == 0 && out.stride % 2 == 0 &&
         reinterpret_cast<std::uintptr_t>(out.data) % 8 == 0;
}

std::int64_t prefill_ssd_bytes(std::int64_t rows, std::int64_t sequences, const ScanShape& shape) {
  Memory memory;
  return cut_up(nullptr, rows, sequences, shape, memory) - static_cast<std::byte*>(nullptr);
}

void prefill_ssd(const Launch& to, DeviceBatch batch, std::int64_t rows, std::int64_t sequences, std::int64_t spans,
                 const SsdInputs& in, const ScanShape& shape, std::byte* scratch, Rows out) {
  CHECK(fits_prefill_ssd(in.x, out, shape, kTaps), "shapes of a scan by chunks");
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_states_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(sizeof(StateShared))));
    return true;
  }();
  static_cast<void>(once);
  Memory memory;
  cut_up(scratch, rows, sequences, shape, memory);
  launch(to, "prefill_conv_half_kernel", prefill_conv_half_kernel,
         dim3(static_cast<unsigned>((memory.channels / 2 + 127) / 128), static_cast<unsigned>(spans)), 128, 0, batch,
         in.x, in.kernel, in.conv_bias, in.conv_state, memory);
  launch(to, "prefill_states_kernel", prefill_states_kernel,
         dim3(kP / kRows, static_cast<unsigned>(shape.heads), static_cast<unsigned>(sequences)), kThreads,
         sizeof(StateShared), batch, in.dt, in.A_log, in.dt_bias, shape, in.state, memory);
  launch_outputs(to, batch, spans, in.D, shape, memory, out);
}

}  // namespace strata::cuda
