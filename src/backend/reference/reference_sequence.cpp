// The ops of the reference backend that read and leave state: convolution, scan, attention.
#include <algorithm>
#include <vector>

#include "backend/reference/reference_backend.h"
#include "backend/reference/reference_math.h"

namespace strata {
namespace {

using namespace reference;

/// Element (key or value, head, position, 0) of a sequence's cache.
std::int64_t kv_index(const KvPages& c, const SequenceRows& s, int part, std::int64_t head, std::int64_t position) {
  const std::int64_t page = s.pages[static_cast<std::size_t>(position / c.page_size)];
  return (((page * 2 + part) * c.heads + head) * c.page_size + position % c.page_size) * c.head_dim;
}

}  // namespace

// y_t = silu(b + sum_k w_k x_{t - width + 1 + k}); what lies before the batch comes from the state.
void ReferenceBackend::causal_conv1d_silu(const StagedBatch& batch, ConstMatrix x, const Table& kernel,
                                          const Vector& bias, ConvState& state, Matrix out) {
  const std::int64_t tail = state.width - 1, channels = state.channels;
  for (const SequenceRows& s : batch.host.sequences) {
    const std::int64_t slot = s.slot * tail * channels;
    for (std::int64_t c = 0; c < channels; ++c) {
      const float* w = kernel.view().row<float>(c);
      for (std::int64_t t = s.first_row; t < s.first_row + s.count; ++t) {
        const float now = rounded(x.row<float>(t)[c]);
        double sum = double{f32(bias)[c]} + double{w[tail]} * now;
        for (std::int64_t k = 0; k < tail; ++k)
          sum += double{w[k]} * load(state.data, state.dtype, slot + k * channels + c);
        out.row<float>(t)[c] = static_cast<float>(silu(sum));
        for (std::int64_t k = 0; k + 1 < tail; ++k) {
          store(state.data, state.dtype, slot + k * channels + c,
                load(state.data, state.dtype, slot + (k + 1) * channels + c));
        }
        if (tail > 0) store(state.data, state.dtype, slot + (tail - 1) * channels + c, now);
      }
    }
  }
}

// dt <- softplus(dt + bias);  S <- exp(dt A) S + dt x B^T;  y = S C + D x
void ReferenceBackend::ssd_scan(const StagedBatch& batch, ConstMatrix xBC, ConstMatrix dt, const SsdParameters& p,
                                SsmState& state, Matrix out) {
  const auto& [data, heads, head_dim, state_size] = state;
  const std::int64_t inner = heads * head_dim;
  for (const SequenceRows& s : batch.host.sequences) {
    for (std::int64_t t = s.first_row; t < s.first_row + s.count; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t group = h / (heads / p.groups);
        const float* x = xBC.row<float>(t) + h * head_dim;
        const float* B = xBC.row<float>(t) + inner + group * state_size;
        const float* C = B + p.groups * state_size;
        const double step =
            std::clamp<double>(softplus(double{dt.row<float>(t)[h]} + f32(p.dt_bias)[h]), p.dt_min, p.dt_max);
        const double decay = std::exp(-std::exp(double{f32(p.A_log)[h]}) * step);
        for (std::int64_t i = 0; i < head_dim; ++i) {
          float* S = reinterpret_cast<float*>(data.get()) + ((s.slot * heads + h) * head_dim + i) * state_size;
          double y = double{f32(p.D)[h]} * x[i];
          for (std::int64_t n = 0; n < state_size; ++n) {
            S[n] = static_cast<float>(decay * S[n] + step * x[i] * B[n]);
            y += double{S[n]} * C[n];
          }
          out.row<float>(t)[h * head_dim + i] = static_cast<float>(y);
        }
      }
    }
  }
}

void ReferenceBackend::append_kv(const StagedBatch& batch, ConstMatrix k, ConstMatrix v, KvPages& cache) {
  const bool scaled = cache.dtype == DType::f8_e4m3;
  for (const SequenceRows& s : batch.host.sequences) {
    for (std::int64_t t = 0; t < s.count; ++t) {
      for (std::int64_t c = 0; c < k.cols; ++c) {
        const std::int64_t head = c / cache.head_dim, i = c % cache.head_dim;
        const float key = k.row<float>(s.first_row + t)[c], value = v.row<float>(s.first_row + t)[c];
        store(cache.data, cache.dtype, kv_index(cache, s, 0, head, s.position + t) + i,
              scaled ? key / cache.k_scale : key);
        store(cache.data, cache.dtype, kv_index(cache, s, 1, head, s.position + t) + i,
              scaled ? value / cache.v_scale : value);
      }
    }
  }
}

// out = softmax(scale q K^T) V over the positions up to the query's own
void ReferenceBackend::attention(const StagedBatch& batch, ConstMatrix q, const KvPages& cache, float scale,
                                 Matrix out) {
  const std::int64_t d = cache.head_dim, heads = q.cols / d;
  const bool scaled = cache.dtype == DType::f8_e4m3;
  const double k_scale = scaled ? cache.k_scale : 1.0, v_scale = scaled ? cache.v_scale : 1.0;
  std::vector<double> p, sum(static_cast<std::size_t>(d));
  for (const SequenceRows& s : batch.host.sequences) {
    for (std::int64_t t = 0; t < s.count; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::vector<float> query = rounded_row(q.row<float>(s.first_row + t) + h * d, d);
        const std::int64_t kv_head = h / (heads / cache.heads), visible = s.position + t + 1;
        p.assign(static_cast<std::size_t>(visible), 0.0);
        double largest = -INFINITY, total = 0;
        for (std::int64_t j = 0; j < visible; ++j) {
          double& score = p[static_cast<std::size_t>(j)];
          const std::int64_t key = kv_index(cache, s, 0, kv_head, j);
          for (std::int64_t i = 0; i < d; ++i) {
            score += double{query[static_cast<std::size_t>(i)]} * load(cache.data, cache.dtype, key + i);
          }
          score *= scale * k_scale;
          largest = std::max(largest, score);
        }
        for (double& w : p) total += w = std::exp(w - largest);
        std::fill(sum.begin(), sum.end(), 0.0);
        for (std::int64_t j = 0; j < visible; ++j) {
          const std::int64_t value = kv_index(cache, s, 1, kv_head, j);
          for (std::int64_t i = 0; i < d; ++i) {
            sum[static_cast<std::size_t>(i)] +=
                p[static_cast<std::size_t>(j)] * load(cache.data, cache.dtype, value + i);
          }
        }
        for (std::int64_t i = 0; i < d; ++i) {
          out.row<float>(s.first_row + t)[h * d + i] =
              static_cast<float>(sum[static_cast<std::size_t>(i)] * v_scale / total);
        }
      }
    }
  }
}

}  // namespace strata
