// The ops that run along a sequence: chunks, neighbours, threads and instruction sets must not show.
#include <cmath>

#include "backend/cpu/cpu_test_support.h"

namespace strata {
namespace {

using namespace cpu_test;

class CpuSequence : public EveryIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, CpuSequence, testing::ValuesIn(kIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

constexpr std::int64_t kTokens = 67;

// Cuts kTokens tokens in chunks of `chunk` and calls body(first, rows) for each.
template <class Body>
void in_chunks(std::int64_t chunk, Body&& body) {
  for (std::int64_t t = 0; t < kTokens; t += chunk) body(t, std::min(chunk, kTokens - t));
}

std::vector<float> rows_of(const std::vector<float>& x, std::int64_t cols, std::int64_t first, std::int64_t count) {
  return {x.begin() + first * cols, x.begin() + (first + count) * cols};
}

std::vector<float> run_conv(int threads, Isa isa, std::int64_t channels, std::int64_t width, std::int64_t chunk) {
  CpuBackend backend(threads, isa);
  const auto x = random_floats(kTokens * channels, 1, 3);
  const Vector taps = vector_of(backend, random_floats(channels * width, 2));
  const Vector bias = vector_of(backend, random_floats(channels, 3));
  ConvState state{backend.allocate(3 * (width - 1) * channels * 2), DType::bf16, channels, width};
  std::vector<float> all;
  in_chunks(chunk, [&](std::int64_t first, std::int64_t count) {
    const SequenceRows sequence{0, count, first, 2, {}};
    const Batch batch{{}, {&sequence, 1}, {}};
    std::vector<float> out(std::size_t(count * channels));
    const auto part = rows_of(x, channels, first, count);
    backend.causal_conv1d_silu(backend.stage(batch), view(part, count), {taps.data, channels, width}, bias, state,
                               view(out, count));
    all.insert(all.end(), out.begin(), out.end());
  });
  return all;
}

TEST_P(CpuSequence, ConvIsItsEquationInAnyChunks) {
  for (const std::int64_t width : {1, 2, 4})
    for (const std::int64_t channels : {5, 16, 150}) {
      const auto whole = run_conv(1, GetParam(), channels, width, kTokens);
      const auto x = random_floats(kTokens * channels, 1, 3), taps = random_floats(channels * width, 2),
                 bias = random_floats(channels, 3);
      for (std::int64_t t = 0; t < kTokens; ++t)
        for (std::int64_t c = 0; c < channels; ++c) {
          double sum = bias[std::size_t(c)];
          for (std::int64_t k = 0; k < width; ++k)
            if (const std::int64_t at = t - width + 1 + k; at >= 0)
              sum += double(taps[std::size_t(c * width + k)]) * round_to_bf16(x[std::size_t(at * channels + c)]);
          ASSERT_NEAR(whole[std::size_t(t * channels + c)], sum / (1 + std::exp(-sum)), 1e-5);
        }
      for (const std::int64_t chunk : {1, 2, 3, 16})
        for (const int threads : {1, 3}) EXPECT_EQ(run_conv(threads, GetParam(), channels, width, chunk), whole);
    }
}

struct ScanShape {
  std::int64_t heads, head_dim, state_size, groups;
};

std::vector<float> run_scan(int threads, Isa isa, const ScanShape& shape, std::int64_t chunk) {
  CpuBackend backend(threads, isa);
  const auto [heads, head_dim, state_size, groups] = shape;
  const std::int64_t inner = heads * head_dim, width = inner + 2 * groups * state_size;
  const auto xBC = random_floats(kTokens * width, 1), dt = random_floats(kTokens * heads, 2);
  SsdParameters p{vector_of(backend, random_floats(heads, 3)), vector_of(backend, random_floats(heads, 4)),
                  vector_of(backend, random_floats(heads, 5)), groups};
  SsmState state{backend.allocate(2 * inner * state_size * 4), heads, head_dim, state_size};
  std::vector<float> all;
  in_chunks(chunk, [&](std::int64_t first, std::int64_t count) {
    const SequenceRows sequence{0, count, first, 1, {}};
    const Batch batch{{}, {&sequence, 1}, {}};
    std::vector<float> out(std::size_t(count * inner));
    const auto a = rows_of(xBC, width, first, count), b = rows_of(dt, heads, first, count);
    backend.ssd_scan(backend.stage(batch), view(a, count), view(b, count), p, state, view(out, count));
    all.insert(all.end(), out.begin(), out.end());
  });
  return all;
}

std::vector<double> scan_equation(const ScanShape& shape) {
  const auto [heads, head_dim, N, groups] = shape;
  const std::int64_t inner = heads * head_dim, width = inner + 2 * groups * N;
  const auto xBC = random_floats(kTokens * width, 1), dt = random_floats(kTokens * heads, 2);
  const auto A_log = random_floats(heads, 3), D = random_floats(heads, 4), bias = random_floats(heads, 5);
  std::vector<double> S(std::size_t(inner * N)), y(std::size_t(kTokens * inner));
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t i = 0; i < inner; ++i) {
      const auto h = std::size_t(i / head_dim);
      const double step = std::log1p(std::exp(double(dt[std::size_t(t * heads) + h]) + bias[h]));
      const float* row = &xBC[std::size_t(t * width)];
      const float* B = row + inner + std::int64_t(h) / (heads / groups) * N;
      double sum = double(D[h]) * row[i];
      for (std::int64_t n = 0; n < N; ++n) {
        double& s = S[std::size_t(i * N + n)];
        s = std::exp(-std::exp(double(A_log[h])) * step) * s + step * row[i] * B[n];
        sum += s * B[groups * N + n];
      }
      y[std::size_t(t * inner + i)] = sum;
    }
  return y;
}

TEST_P(CpuSequence, ScanIsItsRecurrenceInAnyChunks) {
  for (const ScanShape& shape : {ScanShape{4, 8, 128, 2}, {2, 5, 64, 1}, {3, 4, 20, 3}}) {
    const auto whole = run_scan(1, GetParam(), shape, kTokens);
    const auto expected = scan_equation(shape);
    double size = 0;
    for (const double v : expected) size = std::max(size, std::fabs(v));
    for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], expected[i], 2e-6 * size);
    for (const std::int64_t chunk : {1, 7, 16, 64})
      for (const int threads : {1, 3}) EXPECT_EQ(run_scan(threads, GetParam(), shape, chunk), whole);
  }
}

struct AttentionShape {
  std::int64_t heads, kv_heads, head_dim, page_size;
  DType dtype;
};

std::vector<float> run_attention(int threads, Isa isa, const AttentionShape& shape, std::int64_t chunk,
                                 std::vector<std::int32_t> pages) {
  CpuBackend backend(threads, isa);
  backend.reserve(limits());
  const std::int64_t q_width = shape.heads * shape.head_dim, kv_width = shape.kv_heads * shape.head_dim;
  const auto q = random_floats(kTokens * q_width, 1), k = random_floats(kTokens * kv_width, 2),
             v = random_floats(kTokens * kv_width, 3);
  const std::int64_t bytes = 16 * 2 * kv_width * shape.page_size * size_of(shape.dtype);
  KvPages cache{backend.allocate(bytes), shape.dtype, shape.page_size, shape.kv_heads, shape.head_dim, 0.5f, 0.25f};
  std::memset(cache.data.get(), 0xff, std::size_t(bytes));  // what lies behind the keys is NaN
  std::vector<float> all;
  in_chunks(chunk, [&](std::int64_t first, std::int64_t count) {
    const SequenceRows sequence{0, count, first, 0, pages};
    const Batch batch{{}, {&sequence, 1}, {}};
    std::vector<float> out(std::size_t(count * q_width));
    const auto a = rows_of(q, q_width, first, count), b = rows_of(k, kv_width, first, count),
               c = rows_of(v, kv_width, first, count);
    backend.append_kv(backend.stage(batch), view(b, count), view(c, count), cache);
    backend.attention(backend.stage(batch), view(a, count), cache, 0.3f, view(out, count));
    all.insert(all.end(), out.begin(), out.end());
  });
  return all;
}

std::vector<double> attention_equation(const AttentionShape& s) {
  const std::int64_t d = s.head_dim, q_width = s.heads * d, kv_width = s.kv_heads * d;
  const auto q = random_floats(kTokens * q_width, 1), k = random_floats(kTokens * kv_width, 2),
             v = random_floats(kTokens * kv_width, 3);
  const auto kept = [&](float value, float scale) {
    return s.dtype == DType::bf16 ? round_to_bf16(value) : decode_e4m3(encode_e4m3(value / scale)) * scale;
  };
  std::vector<double> out(q.size());
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const std::int64_t offset = h / (s.heads / s.kv_heads) * d;
      std::vector<double> p;
      double total = 0;
      for (std::int64_t j = 0; j <= t; ++j) {
        double dot = 0;
        for (std::int64_t i = 0; i < d; ++i)
          dot += double(round_to_bf16(q[std::size_t(t * q_width + h * d + i)])) *
                 kept(k[std::size_t(j * kv_width + offset + i)], 0.5f);
        p.push_back(std::exp(0.3f * dot));
        total += p.back();
      }
      for (std::int64_t j = 0; j <= t; ++j)
        for (std::int64_t i = 0; i < d; ++i)
          out[std::size_t(t * q_width + h * d + i)] +=
              p[std::size_t(j)] / total * kept(v[std::size_t(j * kv_width + offset + i)], 0.25f);
    }
  return out;
}

TEST_P(CpuSequence, AttentionIsItsEquationInAnyChunksAndPages) {
  const std::vector<std::int32_t> in_order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13},
                                  mixed = {13, 2, 7, 0, 5, 9, 1, 12, 3, 11, 4, 6, 10, 8};
  for (const AttentionShape& shape :
       {AttentionShape{8, 2, 24, 16, DType::bf16}, {4, 4, 80, 5, DType::bf16}, {20, 1, 128, 80, DType::f8_e4m3}}) {
    const auto whole = run_attention(1, GetParam(), shape, kTokens, in_order);
    const auto expected = attention_equation(shape);
    for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], expected[i], 2e-5) << i;
    for (const std::int64_t chunk : {1, 3, 16, 50})
      for (const int threads : {1, 3}) EXPECT_EQ(run_attention(threads, GetParam(), shape, chunk, mixed), whole);
  }
}

}  // namespace
}  // namespace strata
