// One token of each sequence through convolution, scan and gated norm. A block takes a head, a cluster the heads of one
// group, whose norm they share. The state, which no kernel of this step has touched, is on its way to registers before
// the kernel waits for the product that makes x, B and C. Sums have the order of the three kernels for any number of
// tokens (mamba.cu, rows.cu), so the bits are the same. Before the cluster meets nothing is written to the GPU's
// memory: the barrier would wait for that.
#include <bit>

#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/mamba_step.h"
#include "backend/cuda/kernels/primitives.cuh"

namespace strata::cuda {
namespace {

constexpr int kThreads = 512, kRowLanes = 8, kMostHeadDim = kThreads / kRowLanes, kMostHeads = 8, kTaps = 4;
constexpr int kNormThreads = 256;  // of the kernel whose sums are repeated here

// From so many values of a row on a thread's registers leave room for one block; sm_120's code takes some more.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr int kRoomyValues = 16;
#else
constexpr int kRoomyValues = 32;
#endif

/// kValues: of a row's state, in each of its lanes: n = lane + 8 i.
template <int kValues>
__global__ void __launch_bounds__(kThreads, kValues >= kRoomyValues ? 1 : 2)
    mamba_step_kernel(DeviceBatch batch, const __grid_constant__ MambaStep m) {
  __shared__ float inputs[kThreads];     // x, B and C after the convolution
  __shared__ float gated[kMostHeadDim];  // read by the whole cluster
  __shared__ float norm_weights[kMostHeadDim];
  __shared__ float sums[kNormThreads / 32];
  const int head = blockIdx.x, tid = threadIdx.x, row = tid / kRowLanes, lane = tid % kRowLanes;
  const int N = static_cast<int>(m.shape.state_size), P = static_cast<int>(m.shape.head_dim);
  const int heads = static_cast<int>(m.shape.heads), sharing = heads / static_cast<int>(m.shape.groups);
  const int group = head / sharing;
  const unsigned rank = cluster_rank();
  // What is read past the first-level cache was written by a kernel that is not waited for yet, but done: the one just
  // before this one had waited for it.
  const DeviceSequence* s = batch.at<DeviceSequence>(__ldcg(&batch.header().sequences_at)) + blockIdx.y;
  const std::int64_t slot = __ldcg(&s->slot), token = __ldcg(&s->first_row);
  float* state = m.state + ((slot * heads + head) * P + row) * N;
  float S[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int n = lane + i * kRowLanes;
    S[i] = row < P && n < N ? __ldcg(state + n) : 0.0f;
  }
  // A thread convolves one channel: of the head's x, or of the group's B and C, which its heads all make.
  const bool convolves = tid < P + 2 * N;
  const int groups = static_cast<int>(m.shape.groups);
  const int channel = tid < P ? head * P + tid : heads * P + group * N + tid - P + (tid < P + N ? 0 : (groups - 1) * N);
  std::uint16_t* conv_state = m.conv_state + slot * (kTaps - 1) * m.channels + channel;
  std::uint16_t last[kTaps] = {};
  float taps[kTaps] = {}, conv_sum = 0;
  if (convolves) {
#pragma unroll
    for (int k = 0; k < kTaps - 1; ++k) last[k] = __ldcg(conv_state + k * m.channels);
#pragma unroll
    for (int k = 0; k < kTaps; ++k) taps[k] = m.kernel[channel * kTaps + k];
    if (m.conv_bias) conv_sum = m.conv_bias[channel];
  }
  const float rate = -expf(m.A_log[head]), skip = m.D[head], bias = m.dt_bias[head];
  const float norm_weight = tid < P ? m.norm_weight[head * P + tid] : 0.0f;

  wait_for_predecessors();
  const float dt = m.dt.data[token * m.dt.stride + head];
  const float gate = row < P ? m.z.data[token * m.z.stride + head * P + row] : 0.0f;
  if (convolves) {
    last[kTaps - 1] = bits_of_bf16(m.x.data[token * m.x.stride + channel]);
#pragma unroll
    for (int k = 0; k < kTaps; ++k) conv_sum = fmaf(taps[k], float_of_bf16(last[k]), conv_sum);
    inputs[tid] = silu(conv_sum);
  }
  if (tid < P) norm_weights[tid] = norm_weight;
  const float v = dt + bias;
  const float step = fminf(fmaxf(v > 20.0f ? v : log1pf(expf(v)), m.shape.dt_min), m.shape.dt_max);
  const float decay = expf(rate * step);
  __syncthreads();

  const float x = row < P ? inputs[row] : 0.0f, added = step * x;
  const float *B = inputs + P, *C = B + N;
  float y = 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int n = lane + i * kRowLanes;
    S[i] = fmaf(added, n < N ? B[n] : 0.0f, decay * S[i]);
    y = fmaf(S[i], n < N ? C[n] : 0.0f, y);
  }
#pragma unroll
  for (int d = kRowLanes / 2; d > 0; d /= 2) y += __shfl_xor_sync(kAllLanes, y, d);
  if (row < P && lane == 0) gated[row] = fmaf(skip, x, y) * silu(gate);
  cluster_arrive();
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int n = lane + i * kRowLanes;
    if (row < P && n < N) state[n] = S[i];
  }
  cluster_wait();

  // Every block has read the inputs of the state that its cluster shares.
  if (convolves && (tid < P || rank == 0)) {
    m.convolved.data[token * m.convolved.stride + channel] = inputs[tid];
#pragma unroll
    for (int k = 0; k < kTaps - 1; ++k) conv_state[k * m.channels] = last[k + 1];
  }
  const int width = sharing * P;
  float squares = 0;
  if (tid < kNormThreads) {
    for (int c = tid; c < width; c += kNormThreads) {
      const float value = read_shared(gated + c % P, static_cast<unsigned>(c / P));
      squares = fmaf(value, value, squares);
    }
    squares = warp_sum(squares);
    if (tid % 32 == 0) sums[tid / 32] = squares;
  }
  cluster_arrive_relaxed();
  __syncthreads();
  const float sum = warp_sum(tid % 32 < kNormThreads / 32 ? sums[tid % 32] : 0.0f);
  if (tid < P) {
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(width) + m.eps);
    const float value = gated[tid] * scale * norm_weights[tid];
    m.out.data[token * m.out.stride + head * P + tid] = value;
    if (m.rounded.data) m.rounded.data[token * m.rounded.stride + head * P + tid] = bits_of_bf16(value);
  }
  if (m.rounded.data && head + 1 == heads)
    for (std::int64_t c = heads * P + tid; c < m.rounded.stride; c += kThreads)
      m.rounded.data[token * m.rounded.stride + c] = 0;
  cluster_wait();  // a block's shared memory is read until here
}

}  // namespace

bool fits_mamba_step(const MambaStep& m, std::int64_t sequences) {
  const ScanShape& s = m.shape;
  return sequences <= kStepSequences && m.width == kTaps && s.head_dim <= kMostHeadDim &&
         s.head_dim + 2 * s.state_size <= kThreads && s.groups == m.norm_groups && s.heads / s.groups <= kMostHeads &&
         std::has_single_bit(static_cast<std::uint64_t>(s.heads / s.groups));
}

void mamba_step(const Launch& to, DeviceBatch batch, std::int64_t sequences, const MambaStep& m) {
  const dim3 grid(static_cast<unsigned>(m.shape.heads), static_cast<unsigned>(sequences));
  const auto cluster = static_cast<unsigned>(m.shape.heads / m.shape.groups);
  const auto go = [&](auto kernel) {
    launch_clusters(to, "mamba_step_kernel", kernel, grid, cluster, kThreads, 0, batch, m);
  };
  // As in ssd_scan: zeros past the state's end are part of a sum's order.
  if (m.shape.state_size <= 4 * kRowLanes) return go(mamba_step_kernel<4>);
  if (m.shape.state_size <= 16 * kRowLanes) return go(mamba_step_kernel<16>);
  go(mamba_step_kernel<32>);
}

}  // namespace strata::cuda
