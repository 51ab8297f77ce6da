// Sums run in the order of logit_passes.cpp and sampling.cpp, so that a draw is theirs to the bit.
#include "backend/cuda/kernels/primitives.cuh"
#include "backend/cuda/kernels/sample.h"

namespace strata::cuda {
namespace {

constexpr int kBlock = 256;  // logit_passes.h: kLogitBlock
constexpr int kLanes = 16;   // logit_passes.cpp: kLanes
constexpr int kThreads = 1024;

/// exp(x) for x <= 0, as logit_passes.h has it; nothing here may be contracted.
__device__ float exp_negative(float x) {
  const float bounded = x > -87.0f ? x : -87.0f;
  constexpr float kRound = 0x1.8p23f;
  const float shifted = __fadd_rn(__fmul_rn(bounded, 1.44269504088896f), kRound);
  const float n = __fsub_rn(shifted, kRound);
  const float r = __fsub_rn(__fsub_rn(bounded, __fmul_rn(n, 0.693359375f)), __fmul_rn(n, -2.12194440e-4f));
  float p = __fadd_rn(__fmul_rn(r, 1.9875691500e-4f), 1.3981999507e-3f);
  p = __fadd_rn(__fmul_rn(p, r), 8.3334519073e-3f);
  p = __fadd_rn(__fmul_rn(p, r), 4.1665795894e-2f);
  p = __fadd_rn(__fmul_rn(p, r), 1.6666665459e-1f);
  p = __fadd_rn(__fmul_rn(p, r), 5.0000001201e-1f);
  p = __fadd_rn(__fadd_rn(__fmul_rn(p, __fmul_rn(r, r)), r), 1.0f);
  const float result = __int_as_float(__float_as_int(p) + (__float_as_int(shifted) << 23));
  return x >= -87.0f ? result : 0.0f;
}

/// The largest of every block of 256 logits; a warp a block. maxima: [rows, blocks + 1], the last 0 if all are finite.
__global__ void __launch_bounds__(256)
    maxima_kernel(const float* logits, std::int64_t stride, int vocab, int blocks, float* maxima) {
  wait_for_predecessors();
  const int row = blockIdx.y, block = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (block >= blocks) return;
  float largest = -INFINITY;
  bool odd = false;
  for (int i = block * kBlock + lane; i < min(vocab, (block + 1) * kBlock); i += 32) {
    const float v = logits[row * stride + i];
    largest = v > largest ? v : largest;  // false for NaN
    odd |= !isfinite(v);
  }
  for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
  odd = __any_sync(kAllLanes, odd);
  float* out = maxima + row * (blocks + 1);
  if (lane == 0) out[block] = largest;
  if (lane == 0 && odd) out[blocks] = 1;
}

__global__ void clear_flags_kernel(float* maxima, int blocks, int rows) {
  wait_for_predecessors();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row < rows) maxima[static_cast<std::int64_t>(row) * (blocks + 1) + blocks] = 0;
}

/// The largest of `value` over the block, the smallest of `index`; the same in every thread.
__device__ float block_max(float value, float* scratch) {
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float result = scratch[0];
  for (unsigned w = 1; w < blockDim.x / 32; ++w) result = fmaxf(result, scratch[w]);
  return result;
}

/// sampling.cpp's draw_any; a half of a warp sums a block's 16 lanes.
__device__ int draw(const float* x, int vocab, int blocks, float max, const SampleRow& row, double* masses,
                    float* weights) {
  const int half = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  // All 32 lanes of a warp take part in every round, so that the shuffles have both halves.
  for (int first = 0; first < blocks; first += kThreads / kLanes) {
    const int block = first + half;
    float sum = 0;
    if (block < blocks)
      for (int i = 0; i < kBlock / kLanes; ++i) {
        const int at = block * kBlock + i * kLanes + lane;
        sum = __fadd_rn(sum, exp_negative(__fmul_rn(__fsub_rn(at < vocab ? x[at] : -INFINITY, max), row.scale)));
      }
    double total = 0;
    for (int l = 0; l < kLanes; ++l)
      total += static_cast<double>(__shfl_sync(kAllLanes, sum, (threadIdx.x % 32 / kLanes) * kLanes + l));
    if (lane == 0 && block < blocks) masses[block] = total;
  }
  __shared__ double left_in_block;
  __shared__ int chosen_block, chosen;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (int b = 0; b < blocks; ++b) total += masses[b];
    double left = static_cast<double>(row.uniform) * total;
    int block = 0;
    for (int b = 0; b < blocks; ++b) {
      if (masses[b] == 0) continue;
      block = b;
      if (left < masses[b]) break;
      left -= masses[b];
    }
    chosen_block = block, left_in_block = left;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kBlock; i += kThreads) {
    const int at = chosen_block * kBlock + i;
    weights[i] = at < vocab ? exp_negative(__fmul_rn(__fsub_rn(x[at], max), row.scale)) : 0.0f;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double left = left_in_block;
    chosen = 0;
    for (int i = 0; i < min(kBlock, vocab - chosen_block * kBlock); ++i) {
      if (weights[i] == 0) continue;
      chosen = chosen_block * kBlock + i;
      left -= static_cast<double>(weights[i]);
      if (left < 0) break;
    }
  }
  __syncthreads();
  return chosen;
}

// A block a row.
__global__ void __launch_bounds__(kThreads)
    choose_kernel(const SampleRow* rows, const float* logits, std::int64_t stride, int vocab, int blocks,
                  const float* all_maxima, std::int32_t* last_tokens, SampleOutput out) {
  extern __shared__ double masses[];
  __shared__ float scratch[32], weights[kBlock];
  __shared__ int found;
  wait_for_predecessors();
  const std::int64_t r = blockIdx.x;
  const SampleRow& row = rows[r];
  const float *x = logits + r * stride, *maxima = all_maxima + r * (blocks + 1);
  int token = row.token;
  if (row.choice != SampleRow::Choice::made) {
    float largest = -INFINITY;
    for (int b = threadIdx.x; b < blocks; b += kThreads) largest = fmaxf(largest, maxima[b]);
    const float max = block_max(largest, scratch);
    // The lowest id of the largest logit; 0 if all are NaN.
    if (threadIdx.x == 0) found = vocab;
    __syncthreads();
    for (int b = threadIdx.x / 32; b < blocks; b += kThreads / 32) {
      if (maxima[b] != max || b * kBlock >= found) continue;
      for (int i = b * kBlock + threadIdx.x % 32; i < min(vocab, (b + 1) * kBlock); i += 32)
        if (x[i] == max) atomicMin(&found, i);
    }
    __syncthreads();
    token = found < vocab ? found : 0;
    if (row.choice == SampleRow::Choice::draw && isfinite(max))
      token = draw(x, vocab, blocks, max, row, masses, weights);
  }
  if (threadIdx.x == 0) {
    out.tokens[r * out.tokens_stride] = token;
    out.logprobs[r * out.logprobs_stride] = maxima[blocks] != 0 ? NAN : row.logprob;
    if (row.slot >= 0) last_tokens[row.slot] = token;
  }
  if (static_cast<int>(threadIdx.x) < row.tops) {
    out.top_ids[r * out.top_ids_stride + threadIdx.x] = row.top_ids[threadIdx.x];
    out.top_logprobs[r * out.top_logprobs_stride + threadIdx.x] = row.top_logprobs[threadIdx.x];
  }
}

int blocks_of(std::int64_t vocab) { return static_cast<int>((vocab + kBlock - 1) / kBlock); }

}  // namespace

std::int64_t sample_maxima(std::int64_t vocab) { return blocks_of(vocab) + 1; }

void sample(const Launch& to, const SampleRow* rows, std::int64_t count, const float* logits,
            std::int64_t logits_stride, std::int64_t vocab, float* maxima, std::int32_t* last_tokens,
            const SampleOutput& out) {
  const int blocks = blocks_of(vocab), n = static_cast<int>(vocab);
  const auto grid_rows = static_cast<unsigned>(count);
  launch(to, "clear_flags_kernel", clear_flags_kernel, dim3((grid_rows + 127) / 128), 128, 0, maxima, blocks,
         static_cast<int>(count));
  launch(to, "maxima_kernel", maxima_kernel, dim3(static_cast<unsigned>((blocks + 7) / 8), grid_rows), 256, 0, logits,
         logits_stride, n, blocks, maxima);
  launch(to, "choose_kernel", choose_kernel, dim3(grid_rows), kThreads, static_cast<std::size_t>(blocks) * 8, rows,
         logits, logits_stride, n, blocks, maxima, last_tokens, out);
}

}  // namespace strata::cuda
