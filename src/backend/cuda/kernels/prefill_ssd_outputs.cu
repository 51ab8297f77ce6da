// The outputs of a scan by chunks (prefill_ssd.cu): a block takes one chunk of a sequence and four heads of one group,
// which share C B^T.
#include "backend/cuda/kernels/prefill_ssd.cuh"

// Only Hopper's kernels use what is here; for other GPUs they are empty.
#pragma nv_diag_suppress 177

namespace strata::cuda::ssd {
namespace {

/// float16 from one row of a head's x to the next in shared memory.
constexpr int kHead = kP + 8;

/// What one head brings.
struct HeadInputs {
  __half X[kChunk][kHead], S[kP][kWide];
  float c[kChunk], e[kChunk];
};
struct OutputShared {
  __half C[kChunk][kWide];
  union {
    __half B[kChunk][kWide];
    HeadInputs odd;  // once B has been used
  };
  HeadInputs even;
};

// The outputs of one chunk and kHeads heads: 16 tokens a warp.
__global__ void __launch_bounds__(kThreads, 2)
    prefill_outputs_kernel(DeviceBatch batch, const float* D, ScanShape shape, Memory memory, Rows out) {
#if __CUDA_ARCH__ == 900
  extern __shared__ float4 dynamic[];
  OutputShared& shared = *reinterpret_cast<OutputShared*>(dynamic);
  wait_for_predecessors();
  const Span span = batch.span(static_cast<int>(blockIdx.x));
  if (span.first % kChunk != 0) return;
  const DeviceSequence s = batch.sequence(span.sequence);
  const int first = span.first, count = min(kChunk, s.count - first),
            first_head = static_cast<int>(blockIdx.y) * kHeads;
  const std::int64_t first_row = s.first_row + first;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  // The later tokens, the more there is to do: warps 4 apart share a scheduler.
  const int block = warp < 4 ? warp : 11 - warp, row = block * 16;
  const int group = first_head / static_cast<int>(shape.heads / shape.groups);
  const std::int64_t b_at = shape.heads * kP + group * kN, c_at = b_at + shape.groups * kN;
  const std::int64_t place = place_of(s, span.sequence, first / kChunk) * shape.heads;
#pragma unroll
  for (int i = 0; i < kChunk * kN / 8 / kThreads; ++i) {
    const int at = tid + i * kThreads, j = at / (kN / 8), n = at % (kN / 8) * 8;
    const bool there = j < count;
    const __half* from = memory.xBC + (first_row + (there ? j : 0)) * memory.channels + n;
    copy_async(&shared.B[j][n], from + b_at, there);
    copy_async(&shared.C[j][n], from + c_at, there);
  }
  commit_copies();
  const auto fetch_head = [&](int head, HeadInputs& to) {
#pragma unroll
    for (int i = 0; i < kChunk * kP / 8 / kThreads; ++i) {
      const int at = tid + i * kThreads, j = at / (kP / 8), p = at % (kP / 8) * 8;
      const bool there = j < count;
      copy_async(&to.X[j][p], memory.xBC + (first_row + (there ? j : 0)) * memory.channels + head * kP + p, there);
    }
    const __half* state = memory.states + (place + head) * kP * kN;
#pragma unroll
    for (int i = 0; i < kP * kN / 8 / kThreads; ++i) {
      const int at = tid + i * kThreads, p = at / (kN / 8), n = at % (kN / 8) * 8;
      copy_async(&to.S[p][n], state + p * kN + n, true);
    }
    const int j = tid % kChunk;
    const std::int64_t from = head * memory.rows + first_row + (j < count ? j : 0);
    copy_async_float(tid < kChunk ? &to.c[j] : &to.e[j], (tid < kChunk ? memory.c : memory.e) + from, j < count);
    commit_copies();
  };
  fetch_head(first_head, shared.even);
  wait_for_copies<1>();
  __syncthreads();

  // G = C B^T up to the diagonal.
  float G[kChunk / 8][4];
#pragma unroll
  for (int n = 0; n < kChunk / 8; ++n) G[n][0] = G[n][1] = G[n][2] = G[n][3] = 0;
  const __half* c_from = &shared.C[row + lane % 16][lane / 16 * 8];
#pragma unroll
  for (int kb = 0; kb < kN / 16; ++kb) {
    unsigned a[4];
    load_blocks(a, c_from + kb * 16);
#pragma unroll
    for (int n = 0; n < kChunk / 16; ++n) {
      if (n > block) break;
      unsigned b[4];
      load_blocks(b, &shared.B[n * 16 + lane / 16 * 8 + lane % 8][kb * 16 + lane / 8 % 2 * 8]);
      multiply_half(G[n * 2], a, b[0], b[1]);
      multiply_half(G[n * 2 + 1], a, b[2], b[3]);
    }
  }

#pragma unroll 1
  for (int i = 0; i < kHeads; ++i) {
    const int head = first_head + i;
    HeadInputs& in = i % 2 ? shared.odd : shared.even;
    const float shift = memory.shifts[place + head], skip = D[head];
    const float ups[2] = {memory.of_state[(place + head) * 2], memory.of_state[(place + head) * 2 + 1]};
    __syncthreads();  // the other's memory is free
    if (i + 1 < kHeads) {
      fetch_head(head + 1, i % 2 ? shared.even : shared.odd);
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();
    float y[kP / 8][4];
#pragma unroll
    for (int n = 0; n < kP / 8; ++n) y[n][0] = y[n][1] = y[n][2] = y[n][3] = 0;
#pragma unroll
    for (int kb = 0; kb < kN / 16; ++kb) {
      unsigned a[4];
      load_blocks(a, c_from + kb * 16);
#pragma unroll
      for (int n = 0; n < kP / 16; ++n) {
        unsigned b[4];
        load_blocks(b, &in.S[n * 16 + lane / 16 * 8 + lane % 8][kb * 16 + lane / 8 % 2 * 8]);
        multiply_half(y[n * 2], a, b[0], b[1]);
        multiply_half(y[n * 2 + 1], a, b[2], b[3]);
      }
    }
    const float c[2] = {in.c[row + g], in.c[row + g + 8]};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factors[2] = {exp2_of(c[0] - shift) * ups[half], exp2_of(c[1] - shift) * ups[half]};
#pragma unroll
      for (int n = 0; n < kRows / 8; ++n)
#pragma unroll
        for (int v = 0; v < 4; ++v) y[half * (kRows / 8) + n][v] *= factors[v / 2];
    }
#pragma unroll
    for (int kb = 0; kb < kChunk / 16; ++kb) {
      if (kb > block) break;
      unsigned a[4];
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        const int n = kb * 2 + v / 2, j = n * 8 + t * 2, of_row = row + g + v % 2 * 8;
        const float2 e = *reinterpret_cast<const float2*>(&in.e[j]);
        float lo = G[n][v % 2 * 2] * exp2_of(c[v % 2] - e.x), hi = G[n][v % 2 * 2 + 1] * exp2_of(c[v % 2] - e.y);
        if (kb == block) {
          if (j > of_row) lo = 0;
          if (j + 1 > of_row) hi = 0;
        }
        a[v] = pack_half2(lo, hi);
      }
#pragma unroll
      for (int n = 0; n < kP / 16; ++n) {
        unsigned b[4];
        load_turned(b, &in.X[kb * 16 + lane % 16][n * 16 + lane / 16 * 8]);
        multiply_half(y[n * 2], a, b[0], b[1]);
        multiply_half(y[n * 2 + 1], a, b[2], b[3]);
      }
    }
    const float scale = exp2_of(shift);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int j = row + g + half * 8;
      if (j >= count) continue;
      float* to = out.data + (first_row + j) * out.stride + head * kP + t * 2;
#pragma unroll
      for (int n = 0; n < kP / 8; ++n) {
        const float2 x = floats_of(*reinterpret_cast<const unsigned*>(&in.X[j][n * 8 + t * 2]));
        *reinterpret_cast<float2*>(to + n * 8) = {fmaf(y[n][half * 2], scale, skip * x.x),
                                                  fmaf(y[n][half * 2 + 1], scale, skip * x.y)};
      }
    }
  }
#endif
}

}  // namespace

void launch_outputs(const Launch& to, DeviceBatch batch, std::int64_t spans, const float* D, const ScanShape& shape,
                    const Memory& memory, Rows out) {
  static const bool once = [] {
    CUDA_CHECK(cudaFuncSetAttribute(prefill_outputs_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(sizeof(OutputShared))));
    return true;
  }();
  static_cast<void>(once);
  launch(to, "prefill_outputs_kernel", prefill_outputs_kernel,
         dim3(static_cast<unsigned>(spans), static_cast<unsigned>(shape.heads / kHeads)), kThreads,
         sizeof(OutputShared), batch, D, shape, memory, out);
}

}  // namespace strata::cuda::ssd
