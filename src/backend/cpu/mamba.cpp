// The ops of a Mamba-2 mixer: causal convolution and scan.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"

namespace strata {
namespace {

const float* values(const Vector& v) { return reinterpret_cast<const float*>(v.data.get()); }

float softplus(float v) { return v > 20 ? v : std::log1p(std::exp(v)); }

}  // namespace

void CpuBackend::causal_conv1d_silu(const StagedBatch& batch, ConstMatrix x, const Table& kernel, const Vector& bias,
                                    ConvState& state, Matrix out) {
  CHECK(state.dtype == DType::bf16, "the cpu backend keeps the conv state in bf16");
  CHECK(x.cols == state.channels && out.cols == x.cols && out.rows == x.rows && kernel.rows == x.cols &&
            kernel.cols == state.width && bias.size == x.cols && state.width >= 1,
        "causal_conv1d_silu: shape");
  CHECK(state.width <= kMaxConvWidth, "a convolution wider than 16");
  constexpr std::int64_t kChannels = 128;
  const std::int64_t parts = (x.cols + kChannels - 1) / kChannels;
  const auto sequences = batch.host.sequences;
  pool_.run(
      static_cast<std::int64_t>(sequences.size()) * parts,
      [&](std::int64_t item, int) {
        const SequenceRows& s = sequences[static_cast<std::size_t>(item / parts)];
        ConvPart part;
        part.x = x.row<float>(s.first_row);
        part.out = out.row<float>(s.first_row);
        part.x_stride = x.stride;
        part.out_stride = out.stride;
        part.count = s.count;
        part.kernel = kernel.view().row<float>(0);
        part.bias = values(bias);
        part.state = reinterpret_cast<std::uint16_t*>(state.data.get()) + s.slot * (state.width - 1) * state.channels;
        part.all_channels = x.cols;
        part.width = state.width;
        part.first = item % parts * kChannels;
        part.channels = std::min(kChannels, x.cols - part.first);
        kernels_.conv(part);
      },
      items_alone(64 * kChannels * x.rows / static_cast<std::int64_t>(sequences.size())));
}

void CpuBackend::ssd_scan(const StagedBatch& batch, ConstMatrix xBC, ConstMatrix dt, const SsdParameters& p,
                          SsmState& state, Matrix out) {
  const std::int64_t heads = state.heads, inner = heads * state.head_dim, B_width = p.groups * state.state_size;
  CHECK(xBC.cols == inner + 2 * B_width && dt.cols == heads && out.cols == inner && xBC.rows == out.rows &&
            dt.rows == out.rows && p.A_log.size == heads && p.D.size == heads && p.dt_bias.size == heads &&
            p.groups >= 1 && heads % p.groups == 0,
        "ssd_scan: shape");
  const auto sequences = batch.host.sequences;
  pool_.run(
      static_cast<std::int64_t>(sequences.size()) * heads,
      [&](std::int64_t item, int) {
        const SequenceRows& s = sequences[static_cast<std::size_t>(item / heads)];
        const std::int64_t head = item % heads, group = head / (heads / p.groups);
        const float A = -std::exp(values(p.A_log)[head]), bias = values(p.dt_bias)[head];
        constexpr std::int64_t kTokens = 64;
        float steps[kTokens], decay[kTokens];
        for (std::int64_t t = 0; t < s.count; t += kTokens) {
          ScanPart part;
          part.count = std::min(kTokens, s.count - t);
          for (std::int64_t i = 0; i < part.count; ++i) {
            const float step = softplus(dt.row<float>(s.first_row + t + i)[head] + bias);
            steps[i] = std::clamp(step, p.dt_min, p.dt_max);
            decay[i] = std::exp(steps[i] * A);
          }
          const float* row = xBC.row<float>(s.first_row + t);
          part.x = row + head * state.head_dim;
          part.B = row + inner + group * state.state_size;
          part.C = part.B + B_width;
          part.out = out.row<float>(s.first_row + t) + head * state.head_dim;
          part.in_stride = xBC.stride;
          part.out_stride = out.stride;
          part.dt = steps;
          part.decay = decay;
          part.D = values(p.D)[head];
          part.state =
              reinterpret_cast<float*>(state.data.get()) + (s.slot * heads + head) * state.head_dim * state.state_size;
          part.rows = state.head_dim;
          part.state_size = state.state_size;
          kernels_.scan(part);
        }
      },
      items_alone(8 * state.head_dim * state.state_size * xBC.rows / static_cast<std::int64_t>(sequences.size())));
}

}  // namespace strata
