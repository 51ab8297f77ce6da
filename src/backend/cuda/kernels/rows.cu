#include <type_traits>

#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/primitives.cuh"
#include "backend/cuda/kernels/rows.h"
#include "tensor/dtype.h"

namespace strata::cuda {
namespace {

constexpr unsigned kThreads = 256;

__device__ void store_rounded(RoundedRows to, std::int64_t row, std::int64_t c, float v) {
  if (to.data) to.data[row * to.stride + to.place(c)] = bits_of_bf16(v);
}
__device__ void pad_rounded(RoundedRows to, std::int64_t row, std::int64_t cols) {
  if (!to.data) return;
  for (std::int64_t c = cols + threadIdx.x; c < to.stride; c += blockDim.x) to.data[row * to.stride + to.place(c)] = 0;
}

// A block a row. Four passes of a row's columns stay in registers, so that their loads are under way together; rows
// that are longer are read again.
constexpr int kNormThreads = 1024, kNormKept = 4;

template <bool kMixture>
__global__ void __launch_bounds__(kNormThreads, 1)
    add_rms_norm_kernel(ConstRows added, Mixture mixture, Rows x, const float* weight, float eps, std::int64_t cols,
                        Rows out, RoundedRows rounded) {
  __shared__ float scratch[33];
  const int n = static_cast<int>(cols);
  float weights[kNormKept];
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) {
    const int c = threadIdx.x + i * kNormThreads;
    weights[i] = c < n ? weight[c] : 0.0f;
  }
  wait_for_predecessors();
  const std::int64_t row = blockIdx.x;
  float* values = x.data + row * x.stride;
  const float* addend = added.data ? added.data + row * added.stride : nullptr;
  float kept[kNormKept], squares = 0;
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) {
    const int c = threadIdx.x + i * kNormThreads;
    kept[i] = c < n ? values[c] : 0.0f;
  }
  if (kMixture) {  // what it makes is added
    float sum[kNormKept] = {};
    const auto add_experts = [&](auto columns, int c, float* sums) {
      constexpr int kColumns = decltype(columns)::value, kTogether = 8;
      const float* y = mixture.y + row * mixture.chosen * mixture.y_stride + c;
      const float* weights_of_row = mixture.weights.data + row * mixture.weights.stride;
      for (int first = 0; first < mixture.chosen; first += kTogether) {
        float part[kColumns][kTogether], weight_of[kTogether];
#pragma unroll
        for (int j = 0; j < kTogether; ++j) {
          const bool there = first + j < mixture.chosen;
          weight_of[j] = there ? weights_of_row[first + j] : 0.0f;
#pragma unroll
          for (int i = 0; i < kColumns; ++i)
            part[i][j] =
                there && c + i * kNormThreads < n ? y[(first + j) * mixture.y_stride + i * kNormThreads] : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < kTogether; ++j)
#pragma unroll
          for (int i = 0; i < kColumns; ++i)
            if (first + j < mixture.chosen) sums[i] = fmaf(weight_of[j], part[i][j], sums[i]);
      }
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const int at = c + i * kNormThreads;
        if (at >= n) continue;
        if (mixture.shared.data) sums[i] += mixture.shared.data[row * mixture.shared.stride + at];
        mixture.out.data[row * mixture.out.stride + at] = sums[i];
      }
    };
    constexpr int kAtOnce = 2;
#pragma unroll
    for (int i = 0; i < kNormKept; i += kAtOnce)
      add_experts(std::integral_constant<int, kAtOnce>{}, threadIdx.x + i * kNormThreads, sum + i);
#pragma unroll
    for (int i = 0; i < kNormKept; ++i) kept[i] += sum[i];
    for (int c = threadIdx.x + kNormKept * kNormThreads; c < n; c += kNormThreads) {
      float one[1] = {};
      add_experts(std::integral_constant<int, 1>{}, c, one);
    }
  } else if (addend) {
#pragma unroll
    for (int i = 0; i < kNormKept; ++i) {
      const int c = threadIdx.x + i * kNormThreads;
      if (c < n) kept[i] += addend[c];
    }
  }
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) {
    const int c = threadIdx.x + i * kNormThreads;
    if (addend && c < n) values[c] = kept[i];
    squares = fmaf(kept[i], kept[i], squares);
  }
  for (int c = threadIdx.x + kNormKept * kNormThreads; c < n; c += kNormThreads) {
    float v = values[c];
    if (addend) values[c] = v = v + addend[c];
    squares = fmaf(v, v, squares);
  }
  const float mean = block_sum(squares, scratch) / static_cast<float>(cols);
  const float scale = 1.0f / sqrtf(mean + eps);
  const auto store = [&](int c, float v, float w) {
    v = v * scale * w;
    out.data[row * out.stride + c] = v;
    store_rounded(rounded, row, c, v);
  };
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) {
    const int c = threadIdx.x + i * kNormThreads;
    if (c < n) store(c, kept[i], weights[i]);
  }
  for (int c = threadIdx.x + kNormKept * kNormThreads; c < n; c += kNormThreads) store(c, values[c], weight[c]);
  pad_rounded(rounded, row, cols);
}

// A cluster a row, for few rows: thread t of all its blocks does what thread t of the kernel above does. Small blocks
// find room beside those of the kernel before. Results are written behind the barrier, which would wait for them.
constexpr int kRowBlocks = 8, kRowThreads = kNormThreads / kRowBlocks;
constexpr std::int64_t kMostRowClusters = 8;  // rows

template <bool kMixture>
__global__ void __launch_bounds__(kRowThreads)
    add_rms_norm_row_kernel(ConstRows added, Mixture mixture, Rows x, const float* weight, float eps, std::int64_t cols,
                            Rows out, RoundedRows rounded) {
  __shared__ float warp_sums[kRowThreads / 32];
  constexpr int kTogether = 8;
  const int n = static_cast<int>(cols), t = static_cast<int>(cluster_rank()) * kRowThreads + threadIdx.x;
  const int lane = threadIdx.x % 32;
  float weights[kNormKept];
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) weights[i] = t + i * kNormThreads < n ? weight[t + i * kNormThreads] : 0.0f;
  wait_for_predecessors();
  const std::int64_t row = blockIdx.x / kRowBlocks;
  float* values = x.data + row * x.stride + t;
  const float* addend = added.data ? added.data + row * added.stride + t : nullptr;
  float kept[kNormKept], mixed[kNormKept], squares = 0;
  const auto there = [&](int i) { return t + i * kNormThreads < n; };
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) kept[i] = there(i) ? values[i * kNormThreads] : 0.0f;
  if (kMixture) {
    float sum[kNormKept] = {}, shared[kNormKept];
    const float* y = mixture.y + row * mixture.chosen * mixture.y_stride + t;
    const float* weights_of_row = mixture.weights.data + row * mixture.weights.stride;
#pragma unroll
    for (int i = 0; i < kNormKept; ++i)
      shared[i] = mixture.shared.data && there(i)
                      ? mixture.shared.data[row * mixture.shared.stride + t + i * kNormThreads]
                      : 0.0f;
    for (int first = 0; first < mixture.chosen; first += kTogether) {
      float part[kNormKept][kTogether], weight_of[kTogether];
#pragma unroll
      for (int j = 0; j < kTogether; ++j) {
        const bool is = first + j < mixture.chosen;
        weight_of[j] = is ? weights_of_row[first + j] : 0.0f;
#pragma unroll
        for (int i = 0; i < kNormKept; ++i)
          part[i][j] = is && there(i) ? y[(first + j) * mixture.y_stride + i * kNormThreads] : 0.0f;
      }
#pragma unroll
      for (int j = 0; j < kTogether; ++j)
#pragma unroll
        for (int i = 0; i < kNormKept; ++i)
          if (first + j < mixture.chosen) sum[i] = fmaf(weight_of[j], part[i][j], sum[i]);
    }
#pragma unroll
    for (int i = 0; i < kNormKept; ++i) {
      if (mixture.shared.data) sum[i] += shared[i];
      kept[i] += sum[i];
      mixed[i] = sum[i];
    }
  } else if (addend) {
#pragma unroll
    for (int i = 0; i < kNormKept; ++i)
      if (there(i)) kept[i] += addend[i * kNormThreads];
  }
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) squares = fmaf(kept[i], kept[i], squares);
  squares = warp_sum(squares);
  if (lane == 0) warp_sums[threadIdx.x / 32] = squares;
  cluster_arrive();
  cluster_wait();
  constexpr int kWarps = kRowThreads / 32;
  const float total = warp_sum(read_shared(warp_sums + lane % kWarps, static_cast<unsigned>(lane / kWarps)));
  cluster_arrive_relaxed();
  const float mean = total / static_cast<float>(cols);
  const float scale = 1.0f / sqrtf(mean + eps);
#pragma unroll
  for (int i = 0; i < kNormKept; ++i) {
    if (!there(i)) continue;
    const int c = t + i * kNormThreads;
    const float v = kept[i] * scale * weights[i];
    out.data[row * out.stride + c] = v;
    store_rounded(rounded, row, c, v);
    if (addend) values[i * kNormThreads] = kept[i];
    if (kMixture) mixture.out.data[row * mixture.out.stride + c] = mixed[i];
  }
  if (rounded.data)
    for (std::int64_t c = cols + t; c < rounded.stride; c += kNormThreads)
      rounded.data[row * rounded.stride + rounded.place(c)] = 0;
  cluster_wait();  // a block's shared memory is read until here
}

// A block a group of a row.
__global__ void __launch_bounds__(kThreads)
    gated_rms_norm_kernel(ConstRows y, ConstRows z, const float* weight, std::int64_t width, float eps,
                          std::int64_t cols, Rows out, RoundedRows rounded) {
  __shared__ float scratch[33];
  wait_for_predecessors();
  const std::int64_t row = blockIdx.x, begin = blockIdx.y * width;
  const auto gated = [&](std::int64_t c) { return y.data[row * y.stride + c] * silu(z.data[row * z.stride + c]); };
  constexpr int kKept = 4;
  float kept[kKept], squares = 0;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const std::int64_t c = threadIdx.x + i * kThreads;
    kept[i] = c < width ? gated(begin + c) : 0.0f;
    squares = fmaf(kept[i], kept[i], squares);
  }
  for (std::int64_t c = threadIdx.x + kKept * kThreads; c < width; c += kThreads) {
    const float v = gated(begin + c);
    squares = fmaf(v, v, squares);
  }
  const float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(width) + eps);
  for (std::int64_t i = 0; threadIdx.x + i * kThreads < width; ++i) {
    const std::int64_t c = begin + threadIdx.x + i * kThreads;
    const float v = (i == 0   ? kept[0]
                     : i == 1 ? kept[1]
                     : i == 2 ? kept[2]
                     : i == 3 ? kept[3]
                              : gated(c)) *
                    scale * weight[c];
    out.data[row * out.stride + c] = v;
    store_rounded(rounded, row, c, v);
  }
  if (blockIdx.y + 1 == gridDim.y) pad_rounded(rounded, row, cols);
}

/// Calls f(row, column) for the thread's element of a [gridDim.y, cols] matrix.
template <class F>
__device__ void at_element(std::int64_t cols, F f) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (c < cols) f(static_cast<std::int64_t>(blockIdx.y), c);
}

__global__ void add_kernel(ConstRows x, std::int64_t cols, Rows out) {
  wait_for_predecessors();
  at_element(cols, [&](auto r, auto c) { out.data[r * out.stride + c] += x.data[r * x.stride + c]; });
}

__global__ void relu_squared_kernel(ConstRows x, std::int64_t cols, Rows out) {
  wait_for_predecessors();
  at_element(cols, [&](auto r, auto c) {
    const float v = x.data[r * x.stride + c], positive = v > 0 ? v : 0.0f;
    out.data[r * out.stride + c] = positive * positive;
  });
}

__global__ void gather_kernel(DeviceBatch batch, ConstRows x, std::int64_t cols, Rows out) {
  wait_for_predecessors();
  at_element(cols, [&](auto r, auto c) {
    out.data[r * out.stride + c] = x.data[batch.logit_row(static_cast<int>(r)) * x.stride + c];
  });
}

__device__ float decode_weight(const std::byte* tile, Format format, float scale, int row, int col) {
  // The inverse of packed.h's placement: which lane, product and half hold (row, col).
  const int t = col / 16, kb = col % 16 / 4, half = col % 2, lane = row % 8 * 4 + t;
  const int fragment = col % 4 / 2 * 2 + row / 8;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(tile);
  const auto halfword = [&](int base) {
    return float_of_bf16(
        reinterpret_cast<const std::uint16_t*>(bytes + base + kb * 512 + lane * 16)[fragment * 2 + half]);
  };
  switch (format) {
    case Format::bf16:
      return halfword(0);
    case Format::f32:
      return halfword(0) + halfword(2048) + halfword(4096);
    case Format::fp8: {
      const int word = kb * 2 + fragment / 2, byte = half * 2 + fragment % 2;
      return decode_e4m3(bytes[word / 4 * 512 + lane * 16 + word % 4 * 4 + byte]) * scale;
    }
    case Format::nvfp4: {
      const unsigned word = reinterpret_cast<const unsigned*>(bytes + lane * 16)[kb];
      const unsigned pair = fragment == 0   ? word
                            : fragment == 1 ? rotate_left(word, 4)
                            : fragment == 2 ? rotate_left(word, 10)
                                            : (rotate_left(word, 6) & 0x80c080c0u) | ((word >> 2) & 0x01000100u);
      const unsigned bits = half ? pair >> 16 : pair;
      const unsigned code = (bits >> 15 & 1) << 3 | (bits >> 6 & 7);
      const unsigned block = bytes[512 + lane * 2 + row / 8];
      const float block_scale = ldexpf(1.0f + (block & 7) / 8.0f, static_cast<int>(block >> 3) - 9);
      return decode_e2m1(code) * block_scale * (scale / 128.0f);
    }
  }
  return 0;
}

__global__ void embed_kernel(DeviceBatch batch, PackedBank table, const std::int32_t* last_tokens, Rows out) {
  wait_for_predecessors();
  at_element(table.cols, [&](auto r, auto c) {
    int token = batch.token(static_cast<int>(r));
    if (token < 0) token = last_tokens[batch.sequence(batch.sequence_of_row(static_cast<int>(r))).slot];
    const std::int64_t tile = token / kTileRows * table.col_tiles() + c / kTileCols;
    out.data[r * out.stride + c] =
        decode_weight(table.first.tiles + tile * tile_bytes(table.first.format), table.first.format, table.first.scale,
                      static_cast<int>(token % kTileRows), static_cast<int>(c % kTileCols));
  });
}

dim3 elements(std::int64_t rows, std::int64_t cols) {
  return {static_cast<unsigned>((cols + kThreads - 1) / kThreads), static_cast<unsigned>(rows)};
}

}  // namespace

void add_rms_norm(const Launch& to, ConstRows added, const Mixture& mixture, Rows x, const float* weight, float eps,
                  std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded) {
  if (rows <= kMostRowClusters && cols <= kNormKept * kNormThreads)
    return launch_clusters(to, "add_rms_norm_row_kernel",
                           mixture.y ? add_rms_norm_row_kernel<true> : add_rms_norm_row_kernel<false>,
                           dim3(static_cast<unsigned>(rows * kRowBlocks)), kRowBlocks, kRowThreads, 0, added, mixture,
                           x, weight, eps, cols, out, rounded);
  launch(to, "add_rms_norm_kernel", mixture.y ? add_rms_norm_kernel<true> : add_rms_norm_kernel<false>,
         dim3(static_cast<unsigned>(rows)), kNormThreads, 0, added, mixture, x, weight, eps, cols, out, rounded);
}
void gated_rms_norm(const Launch& to, ConstRows y, ConstRows z, const float* weight, std::int64_t groups, float eps,
                    std::int64_t rows, std::int64_t cols, Rows out, RoundedRows rounded) {
  launch(to, "gated_rms_norm_kernel", gated_rms_norm_kernel,
         dim3(static_cast<unsigned>(rows), static_cast<unsigned>(groups)), kThreads, 0, y, z, weight, cols / groups,
         eps, cols, out, rounded);
}
void add(const Launch& to, ConstRows x, std::int64_t rows, std::int64_t cols, Rows out) {
  launch(to, "add_kernel", add_kernel, elements(rows, cols), kThreads, 0, x, cols, out);
}
void relu_squared(const Launch& to, ConstRows x, std::int64_t rows, std::int64_t cols, Rows out) {
  launch(to, "relu_squared_kernel", relu_squared_kernel, elements(rows, cols), kThreads, 0, x, cols, out);
}
void gather_logit_rows(const Launch& to, DeviceBatch batch, ConstRows x, std::int64_t rows, std::int64_t cols,
                       Rows out) {
  launch(to, "gather_kernel", gather_kernel, elements(rows, cols), kThreads, 0, batch, x, cols, out);
}
void embed(const Launch& to, DeviceBatch batch, const PackedBank& table, const std::int32_t* last_tokens,
           std::int64_t rows, Rows out) {
  launch(to, "embed_kernel", embed_kernel, elements(rows, table.cols), kThreads, 0, batch, table, last_tokens, out);
}

}  // namespace strata::cuda
