// Memory, weights, norms and products of the reference backend.
#include "backend/reference/reference_backend.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "backend/reference/reference_math.h"
#include "base/error.h"

namespace strata {
namespace {

using namespace reference;

struct ReferenceLinear : Linear {
  std::vector<LinearWeight> weights;  // per expert, in the checkpoint's format, in memory
};

const ReferenceLinear& own(const Linear& w) { return static_cast<const ReferenceLinear&>(w); }

StoredMatrix in_memory(const StoredMatrix& m) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(m.bytes.size()));
  m.bytes.read(0, bytes);
  return {StoredBytes(std::move(bytes)), m.dtype, m.rows, m.cols};
}

LinearWeight in_memory(const LinearWeight& w) {
  struct Copy {
    LinearWeight operator()(const DenseWeight& d) const { return DenseWeight{in_memory(d.values)}; }
    LinearWeight operator()(const Fp8Weight& f) const { return Fp8Weight{in_memory(f.values), f.scale}; }
    LinearWeight operator()(const Nvfp4Weight& n) const {
      return Nvfp4Weight{in_memory(n.codes), in_memory(n.scales), n.global_scale};
    }
  };
  return std::visit(Copy{}, w);
}

double dot(const float* a, const float* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double{a[i]} * b[i];
  return sum;
}

void normalize(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  const double scale = 1 / std::sqrt(dot(x, x, n) / static_cast<double>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * scale * weight[i]);
}

}  // namespace

std::string ReferenceBackend::description() const {
  return rounding_ == Rounding::none ? "reference, 1 thread, in double"
                                     : "reference, 1 thread, rounding as strata does";
}

Buffer ReferenceBackend::allocate(std::int64_t bytes) {
  constexpr std::align_val_t kAlignment{256};
  auto* memory = static_cast<std::byte*>(::operator new(static_cast<std::size_t>(bytes), kAlignment, std::nothrow));
  if (!memory) {
    throw Error(ErrorCode::out_of_memory, "the reference backend could not get " + std::to_string(bytes) +
                                              " bytes of memory; `strata plan` says what fits");
  }
  std::memset(memory, 0, static_cast<std::size_t>(bytes));
  return Buffer(memory, [](std::byte* p) { ::operator delete(p, kAlignment); });
}

void ReferenceBackend::upload(std::span<const std::byte> host, std::byte* to) {
  std::copy(host.begin(), host.end(), to);
}
void ReferenceBackend::download(const std::byte* from, std::span<std::byte> host) {
  std::copy_n(from, host.size(), host.begin());
}
void ReferenceBackend::copy(const std::byte* from, std::byte* to, std::int64_t bytes) { std::copy_n(from, bytes, to); }
void ReferenceBackend::zero(std::byte* at, std::int64_t bytes) { std::fill_n(at, bytes, std::byte{0}); }

std::unique_ptr<Linear> ReferenceBackend::load_linear(std::span<const LinearWeight> experts) {
  auto linear = std::make_unique<ReferenceLinear>();
  linear->in_features = strata::in_features(experts[0]);
  linear->out_features = strata::out_features(experts[0]);
  linear->experts = static_cast<std::int64_t>(experts.size());
  linear->format = format_name(experts[0]);
  linear->packed_bytes = packed_bytes(experts);
  for (const LinearWeight& w : experts) {
    CHECK(strata::in_features(w) == linear->in_features && strata::out_features(w) == linear->out_features,
          "the experts of a bank have one shape");
    if (format_name(w) != linear->format) linear->format = "mixed";
    linear->weights.push_back(in_memory(w));
  }
  return linear;
}

std::int64_t ReferenceBackend::packed_bytes(std::span<const LinearWeight> experts) const {
  std::int64_t bytes = 0;
  for (const LinearWeight& w : experts) bytes += stored_bytes(w);
  return bytes;
}

StateTypes ReferenceBackend::state_types(DType kv) const {
  if (rounding_ == Rounding::none) return {DType::f32, DType::f32};
  return {DType::bf16, kv};
}

std::vector<float> ReferenceBackend::rounded_row(const float* x, std::int64_t n) const {
  std::vector<float> row(x, x + n);
  for (float& v : row) v = rounded(v);
  return row;
}

void ReferenceBackend::embed(const StagedBatch& batch, const Linear& table, Matrix out) {
  for (const SequenceRows& s : batch.host.sequences) {
    for (std::int64_t t = s.first_row; t < s.first_row + s.count; ++t) {
      TokenId token = batch.host.tokens[static_cast<std::size_t>(t)];
      if (token == kTokenOfLastStep) token = last_token_.at(s.slot);
      CHECK(0 <= token && token < table.out_features, "a token outside the vocabulary");
      decode_row(own(table).weights[0], token, {out.row<float>(t), static_cast<std::size_t>(out.cols)});
    }
  }
}

void ReferenceBackend::rms_norm(ConstMatrix x, const Vector& weight, float eps, Matrix out) {
  for (std::int64_t r = 0; r < x.rows; ++r) normalize(x.row<float>(r), f32(weight), x.cols, eps, out.row<float>(r));
}

void ReferenceBackend::linear(ConstMatrix x, const Linear& w, Matrix out) {
  CHECK(x.cols == w.in_features && out.cols == w.out_features && x.rows == out.rows, "shapes of a linear layer");
  std::vector<std::vector<float>> inputs;
  for (std::int64_t r = 0; r < x.rows; ++r) inputs.push_back(rounded_row(x.row<float>(r), x.cols));
  std::vector<float> weights(static_cast<std::size_t>(x.cols));
  for (std::int64_t o = 0; o < out.cols; ++o) {
    decode_row(own(w).weights[0], o, weights);
    for (std::int64_t r = 0; r < x.rows; ++r) {
      out.row<float>(r)[o] =
          static_cast<float>(dot(weights.data(), inputs[static_cast<std::size_t>(r)].data(), x.cols));
    }
  }
}

void ReferenceBackend::linear_f32(ConstMatrix x, const Table& w, Matrix out) {
  CHECK(x.cols == w.cols && out.cols == w.rows && x.rows == out.rows, "shapes of a linear layer");
  for (std::int64_t r = 0; r < x.rows; ++r) {
    for (std::int64_t o = 0; o < w.rows; ++o) {
      out.row<float>(r)[o] = static_cast<float>(dot(w.view().row<float>(o), x.row<float>(r), x.cols));
    }
  }
}

void ReferenceBackend::add(ConstMatrix x, Matrix out) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    for (std::int64_t c = 0; c < x.cols; ++c) out.row<float>(r)[c] += x.row<float>(r)[c];
  }
}

void ReferenceBackend::relu_squared(ConstMatrix x, Matrix out) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    for (std::int64_t c = 0; c < x.cols; ++c) {
      const float v = std::max(0.0f, x.row<float>(r)[c]);
      out.row<float>(r)[c] = v * v;
    }
  }
}

// out = norm(y * silu(z)), each group by itself
void ReferenceBackend::gated_rms_norm(ConstMatrix y, ConstMatrix z, const Vector& weight, std::int64_t groups,
                                      float eps, Matrix out) {
  const std::int64_t width = y.cols / groups;
  std::vector<float> gated(static_cast<std::size_t>(width));
  for (std::int64_t r = 0; r < y.rows; ++r) {
    for (std::int64_t at = 0; at < y.cols; at += width) {
      for (std::int64_t c = 0; c < width; ++c) {
        gated[static_cast<std::size_t>(c)] =
            static_cast<float>(y.row<float>(r)[at + c] * silu(z.row<float>(r)[at + c]));
      }
      normalize(gated.data(), f32(weight) + at, width, eps, out.row<float>(r) + at);
    }
  }
}

// out = sum over a token's experts of weight * down(relu(up(x))^2)
void ReferenceBackend::experts(ConstMatrix x, const Routing& routing, const Linear& up, const Linear& down,
                               Matrix out) {
  const std::int64_t inner = up.out_features;
  std::vector<float> weights(static_cast<std::size_t>(std::max(up.in_features, inner)));
  std::vector<float> hidden(static_cast<std::size_t>(inner));
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const std::vector<float> input = rounded_row(x.row<float>(r), x.cols);
    std::vector<double> sum(static_cast<std::size_t>(out.cols), 0.0);
    for (std::int64_t j = 0; j < routing.ids.cols; ++j) {
      const auto expert = static_cast<std::size_t>(routing.ids.row<std::int32_t>(r)[j]);
      for (std::int64_t i = 0; i < inner; ++i) {
        decode_row(own(up).weights[expert], i, {weights.data(), input.size()});
        const float v = std::max(0.0f, static_cast<float>(dot(weights.data(), input.data(), x.cols)));
        hidden[static_cast<std::size_t>(i)] = rounded(v * v);
      }
      for (std::int64_t o = 0; o < out.cols; ++o) {
        decode_row(own(down).weights[expert], o, {weights.data(), hidden.size()});
        const float y = static_cast<float>(dot(weights.data(), hidden.data(), inner));
        sum[static_cast<std::size_t>(o)] += double{routing.weights.row<float>(r)[j]} * y;
      }
    }
    std::transform(sum.begin(), sum.end(), out.row<float>(r), [](double s) { return static_cast<float>(s); });
  }
}

void ReferenceBackend::gather_logit_rows(const StagedBatch& batch, ConstMatrix x, Matrix out) {
  for (std::int64_t r = 0; r < out.rows; ++r) {
    std::copy_n(x.row<float>(batch.host.logit_rows[static_cast<std::size_t>(r)]), x.cols, out.row<float>(r));
  }
}

void ReferenceBackend::sample(const StagedBatch& batch, ConstMatrix logits, std::span<const SamplingRow> rows,
                              const Samples& out) {
  auto sequence = batch.host.sequences.begin();
  for (std::int64_t r = 0; r < logits.rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    const SampledToken chosen =
        sample_row({logits.row<float>(r), static_cast<std::size_t>(logits.cols)}, rows[at],
                   {out.top_ids.row<TokenId>(r), kMaxTopLogprobs}, {out.top_logprobs.row<float>(r), kMaxTopLogprobs});
    out.tokens.row<TokenId>(r)[0] = chosen.token;
    out.logprobs.row<float>(r)[0] = chosen.logprob;
    while (sequence->first_row + sequence->count <= batch.host.logit_rows[at]) ++sequence;
    last_token_[sequence->slot] = chosen.token;
  }
}

}  // namespace strata
