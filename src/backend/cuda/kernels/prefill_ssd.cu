// Mamba-2's scan as products of matrices, 64 tokens at a time (the state space dual form): for `fast` numerics, since a
// prompt cut elsewhere gets other roundings. With c the running sum of dt A within a chunk,
//   y_i = sum over j <= i of exp(c_i - c_j) dt_j (C_i . B_j) x_j  +  exp(c_i) C_i S^T  +  D x_i
//   S  <- exp(c_last) S + sum over j of exp(c_last - c_j) dt_j x_j B_j^T
// in tf32 with float32 sums. A block takes 32 rows of one head's state, chunk after chunk.
#include "backend/cuda/kernels/prefill_scan.h"
#include "backend/cuda/kernels/primitives.cuh"
#include "base/check.h"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda {
namespace {

constexpr int kThreads = 256, kChunk = 64, kN = 128, kRows = 32;
/// Floats from one row to the next: rows 4 banks apart, those of X 8.
constexpr int kWide = kN + 4, kNarrow = kRows + 8, kSquare = kChunk + 4;

struct Inputs {
  float C[kChunk][kWide], B[kChunk][kWide], X[kChunk][kNarrow];
};
struct Shared {
  Inputs inputs[2];
  float S[kRows][kWide], M[kChunk][kSquare];
  float2 steps[2][kChunk];  // dt, and c
};

__device__ __forceinline__ unsigned tf32(float v) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0,%1;" : "=r"(bits) : "f"(v));
  return bits;
}
/// sum += a b: a 16 x 8, b 8 x 8.
__device__ __forceinline__ void multiply_tf32(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Operands whose rows lie in a row of memory: `at` is the lane's [g][t].
__device__ __forceinline__ void load_a(const float* at, int stride, unsigned (&a)[4]) {
  a[0] = tf32(at[0]), a[1] = tf32(at[8 * stride]), a[2] = tf32(at[4]), a[3] = tf32(at[8 * stride + 4]);
}
__device__ __forceinline__ void load_b(const float* at, unsigned (&b)[2]) { b[0] = tf32(at[0]), b[1] = tf32(at[4]); }

__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(to), "l"(global), "r"(there ? 16 : 0) : "memory");
}

__global__ void __launch_bounds__(kThreads, 1)
    prefill_ssd_kernel(DeviceBatch batch, ConstRows xBC, ConstRows dt, const float* A_log, const float* D,
                       const float* dt_bias, ScanShape shape, float* states, Rows out) {
#if __CUDA_ARCH__ == 900  // its shared memory is more than others have
  extern __shared__ float4 memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  wait_for_predecessors();
  const DeviceSequence s = batch.sequence(static_cast<int>(blockIdx.z));
  const int head = blockIdx.y, P = static_cast<int>(shape.head_dim);
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int group = head / static_cast<int>(shape.heads / shape.groups), first_p = static_cast<int>(blockIdx.x) * kRows;
  const std::int64_t x_at = head * P + first_p, b_at = shape.heads * P + group * kN, c_at = b_at + shape.groups * kN;
  float* state = states + ((s.slot * shape.heads + head) * P + first_p) * kN;
  const float rate = -expf(A_log[head]), skip = D[head], bias = dt_bias[head];

  // A warp keeps 16 columns of all the block's rows: S[m][n] is rows 16 m + {g, g + 8}, columns 16 warp + 8 n + 2 t ...
  float S[2][2][4];
  const auto each_state = [&](auto f) {
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          f(m * 16 + half * 8 + g, warp * 16 + n * 8 + t * 2, S[m][n][half * 2], S[m][n][half * 2 + 1]);
  };
  each_state([&](int p, int n, float& lo, float& hi) {
    const float2 v = *reinterpret_cast<const float2*>(state + p * kN + n);
    lo = v.x, hi = v.y;
    shared.S[p][n] = lo, shared.S[p][n + 1] = hi;
  });

  float next_dt[2];
  const auto fetch = [&](int first, Inputs& to) {
#pragma unroll
    for (int i = 0; i < kChunk * kN / 4 / kThreads; ++i) {
      const int at = tid + i * kThreads, j = at / (kN / 4), n = at % (kN / 4) * 4;
      const bool there = first + j < s.count;
      const float* row = xBC.data + (s.first_row + (there ? first + j : 0)) * xBC.stride;
      copy_async(&to.B[j][n], row + b_at + n, there);
      copy_async(&to.C[j][n], row + c_at + n, there);
    }
#pragma unroll
    for (int i = 0; i < kChunk * kRows / 4 / kThreads; ++i) {
      const int at = tid + i * kThreads, j = at / (kRows / 4), p = at % (kRows / 4) * 4;
      const bool there = first + j < s.count;
      copy_async(&to.X[j][p], xBC.data + (s.first_row + (there ? first + j : 0)) * xBC.stride + x_at + p, there);
    }
    if (warp == 0)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int j = first + lane * 2 + i;
        next_dt[i] = j < s.count ? dt.data[(s.first_row + j) * dt.stride + head] : 0.0f;
      }
  };
  fetch(0, shared.inputs[0]);
  for (int first = 0, at = 0; first < s.count; first += kChunk, at ^= 1) {
    const Inputs& in = shared.inputs[at];
    const float2* steps = shared.steps[at];
    if (warp == 0) {
      float step[2], sum[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float v = next_dt[i] + bias;
        step[i] = fminf(fmaxf(v > 20.0f ? v : log1pf(expf(v)), shape.dt_min), shape.dt_max);
        if (first + lane * 2 + i >= s.count) step[i] = 0;  // neither decays nor adds
      }
      sum[0] = rate * step[0];
      sum[1] = sum[0] + rate * step[1];
      float before = sum[1];
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        const float other = __shfl_up_sync(kAllLanes, before, d);
        if (lane >= d) before += other;
      }
      before -= sum[1];
#pragma unroll
      for (int i = 0; i < 2; ++i) shared.steps[at][lane * 2 + i] = {step[i], before + sum[i]};
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    if (first + kChunk < s.count) fetch(first + kChunk, shared.inputs[at ^ 1]);

    // M = exp(c_i - c_j) dt_j (C_i . B_j) for j <= i: 16 rows and 32 columns a warp.
    const int rows_at = warp / 2 * 16;
    {
      const int columns_at = warp % 2 * 32;
      float sum[4][4] = {};
      if (columns_at <= rows_at + 15) {
#pragma unroll 4
        for (int k = 0; k < kN; k += 8) {
          unsigned a[4], b[2];
          load_a(&in.C[rows_at + g][k + t], kWide, a);
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            load_b(&in.B[columns_at + n * 8 + g][k + t], b);
            multiply_tf32(sum[n], a, b);
          }
        }
      }
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = rows_at + i / 2 * 8 + g, column = columns_at + n * 8 + t * 2 + i % 2;
          const float2 of_row = steps[row], of_column = steps[column];
          shared.M[row][column] = column <= row ? sum[n][i] * (expf(of_row.y - of_column.y) * of_column.x) : 0.0f;
        }
    }
    __syncthreads();

    // Y: 16 tokens and 16 rows of the state a warp.
    {
      const int p_at = warp % 2 * 16;
      float sum[2][4] = {};
#pragma unroll 4
      for (int k = 0; k < kN; k += 8) {
        unsigned a[4], b[2];
        load_a(&in.C[rows_at + g][k + t], kWide, a);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          load_b(&shared.S[p_at + n * 8 + g][k + t], b);
          multiply_tf32(sum[n], a, b);
        }
      }
      const float decays[2] = {expf(steps[rows_at + g].y), expf(steps[rows_at + 8 + g].y)};
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[n][i] *= decays[i / 2];
      for (int k = 0; k < rows_at + 16; k += 8) {
        unsigned a[4];
        load_a(&shared.M[rows_at + g][k + t], kSquare, a);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          const float* x = &in.X[k + t][p_at + n * 8 + g];
          const unsigned b[2] = {tf32(x[0]), tf32(x[4 * kNarrow])};
          multiply_tf32(sum[n], a, b);
        }
      }
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int j = rows_at + half * 8 + g, p = p_at + n * 8 + t * 2;
          if (first + j >= s.count) continue;
          const float2 y{fmaf(skip, in.X[j][p], sum[n][half * 2]), fmaf(skip, in.X[j][p + 1], sum[n][half * 2 + 1])};
          *reinterpret_cast<float2*>(out.data + (s.first_row + first + j) * out.stride + x_at + p) = y;
        }
    }

    const float last = steps[kChunk - 1].y, decay = expf(last);
    each_state([&](int, int, float& lo, float& hi) { lo *= decay, hi *= decay; });
#pragma unroll 2
    for (int k = 0; k < kChunk; k += 8) {
      float weights[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 step = steps[k + t + i * 4];
        weights[i] = expf(last - step.y) * step.x;
      }
      unsigned a[2][4], b[2][2];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const float* x = &in.X[k + t][m * 16 + g];
        a[m][0] = tf32(x[0] * weights[0]), a[m][1] = tf32(x[8] * weights[0]);
        a[m][2] = tf32(x[4 * kNarrow] * weights[1]), a[m][3] = tf32(x[4 * kNarrow + 8] * weights[1]);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float* row = &in.B[k + t][warp * 16 + n * 8 + g];
        b[n][0] = tf32(row[0]), b[n][1] = tf32(row[4 * kWide]);
      }
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int n = 0; n < 2; ++n) multiply_tf32(S[m][n], a[m], b[n]);
    }
    __syncthreads();  // the state has been read
    each_state([&](int p, int n, float& lo, float& hi) { shared.S[p][n] = lo, shared.S[p][n + 1] = hi; });
  }
  each_state([&](int p, int n, float& lo, float& hi) {
    *reinterpret_cast<float2*>(state + p * kN + n) = float2{lo, hi};
  });
#endif
}

}  // namespace

bool fits_prefill_ssd(ConstRows xBC, Rows out, const ScanShape& shape) {
  return shape.state_size == kN && shape.head_dim % kRows == 0 && fits_prefill_scan(xBC, shape) &&
         out.stride % 2 == 0 && reinterpret_cast<std::uintptr_t>(out.data) % 8 == 0;
}

void prefill_ssd(const Launch& to, DeviceBatch batch, std::int64_t sequences, ConstRows xBC, ConstRows dt,
                 const float* A_log, const float* D, const float* dt_bias, const ScanShape& shape, float* state,
                 Rows out) {
  CHECK(fits_prefill_ssd(xBC, out, shape), "shapes of a scan by chunks");
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_ssd_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(sizeof(Shared))));
    return true;
  }();
  static_cast<void>(once);
  launch(to, "prefill_ssd_kernel", prefill_ssd_kernel,
         dim3(static_cast<unsigned>(shape.head_dim / kRows), static_cast<unsigned>(shape.heads),
              static_cast<unsigned>(sequences)),
         kThreads, sizeof(Shared), batch, xBC, dt, A_log, D, dt_bias, shape, state, out);
}

}  // namespace strata::cuda
