// Keys and values in pages, and attention over them.
#include "backend/conformance/conformance_sequences.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(AttentionConformance);

struct Attention {
  std::int64_t heads, kv_heads, head_dim;
  DType dtype = DType::bf16;
  std::vector<std::int64_t> lengths{};
  float k_scale = 1, v_scale = 1;

  std::int64_t q_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }
  Streams q() const { return random_streams(lengths, q_width(), 1); }
  Streams k() const { return random_streams(lengths, kv_width(), 2); }
  Streams v() const { return random_streams(lengths, kv_width(), 3); }
  float scale() const { return 1 / std::sqrt(float(head_dim)); }
  std::int64_t page_bytes() const { return 2 * kv_width() * kPage * size_of(dtype); }
};

std::string name_of(const Attention& c) {
  return std::to_string(c.heads) + "/" + std::to_string(c.kv_heads) + " heads of " + std::to_string(c.head_dim) + ", " +
         std::string(strata::name_of(c.dtype));
}

/// The cache is NaN before: what lies behind a sequence's keys may not show.
Outcome run(Backend& backend, const Attention& c, const Steps& steps, const Places& places, bool absolute = false) {
  const Streams q = c.q(), k = c.k();
  Streams v = c.v();
  if (absolute)
    for (Floats& m : v) m = magnitudes(m);
  const std::vector<std::byte> nan(std::size_t(kPages * c.page_bytes()), std::byte{0xff});
  KvPages cache{upload(backend, nan), c.dtype, kPage, c.kv_heads, c.head_dim, c.k_scale, c.v_scale};
  Outcome outcome{unset_streams(c.lengths, c.q_width()), {}};
  run_steps(backend, steps, places, [&](const StagedBatch& batch, const StepRows& step) {
    const Placed keys = place(backend, step.take(k)), values = place(backend, step.take(v)),
                 queries = place(backend, step.take(q)),
                 out = place_output(backend, std::ssize(step.rows), c.q_width());
    backend.append_kv(batch, keys, values, cache);
    backend.attention(batch, queries, cache, c.scale(), out);
    step.give(fetch(backend, out), outcome.out);
  });
  std::vector<std::byte> pages = fetch_bytes(backend, cache.data, std::ssize(nan));
  for (std::size_t s = 0; s < q.size(); ++s) {
    outcome.state.emplace_back();
    for (std::int64_t i = 0; i * kPage < c.lengths[s]; ++i) {
      const auto at = pages.begin() + places.pages[s][std::size_t(i)] * c.page_bytes();
      outcome.state.back().insert(outcome.state.back().end(), at, at + c.page_bytes());
      std::fill_n(at, c.page_bytes(), std::byte{0xff});
    }
  }
  EXPECT_TRUE(pages == nan) << "a page of no sequence was written";
  return outcome;
}

double norm(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double(x[i]) * x[i];
  return std::sqrt(sum);
}

void expect_as_reference(Backend& backend, ReferenceBackend& reference, const Attention& c, const Steps& steps,
                         const Places& places = shuffled()) {
  const Outcome found = run(backend, c, steps, places), expected = run(reference, c, steps, places);
  const Outcome size = run(reference, c, steps, places, true);
  const Streams q = c.q(), k = c.k();
  for (std::size_t s = 0; s < c.lengths.size(); ++s) {
    double longest_key = 0;
    for (std::int64_t t = 0; t < c.lengths[s]; ++t)
      for (std::int64_t h = 0; h < c.kv_heads; ++h)
        longest_key = std::max(longest_key, 1.1 * norm(&k[s].at(t, h * c.head_dim), c.head_dim));
    expect_close(found.out[s], expected.out[s], [&](std::int64_t t, std::int64_t i) {
      const double score =
          double(c.scale()) * longest_key * 1.01 * norm(&q[s].at(t, i / c.head_dim * c.head_dim), c.head_dim);
      // A score's roundings move a weight and the sum of all weights; then the two sums over positions.
      const double roundings = 2 * (double(c.head_dim) + 8) * score + 2 * double(t + 1) + 32;
      return roundings * kRounding * double(size.out[s].at(t, i));
    });
    EXPECT_TRUE(found.state[s] == expected.state[s]) << "the keys and values left behind";
  }
}

TEST_P(AttentionConformance, IsTheReferencesForEveryHeadSizeAndType) {
  for (const DType dtype : {DType::bf16, DType::f8_e4m3})
    for (const std::int64_t head_dim : {1, 7, 16, 24, 80, 128})
      for (const auto& [heads, kv_heads] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {4, 2}, {5, 1}}) {
        const Attention c{heads, kv_heads, head_dim, dtype, {17, 1, head_dim == 24 ? 66 : 19}, 0.0123f, 0.5f};
        SCOPED_TRACE(name_of(c));
        expect_as_reference(backend(), reference, c, chunks_together(c.lengths, 29));
        if (HasFatalFailure()) return;
      }
}

TEST_P(AttentionConformance, IsTheReferencesForTheManyTokensOfPrompts) {
  for (const DType dtype : {DType::bf16, DType::f8_e4m3})
    for (Attention c : {Attention{4, 2, 16}, {5, 1, 64}, {4, 2, 80}, {3, 1, 128}}) {
      c.dtype = dtype, c.lengths = {150, 1, 67}, c.k_scale = 0.0123f, c.v_scale = 0.5f;
      SCOPED_TRACE(name_of(c));
      expect_as_reference(backend(), reference, c, chunks_together(c.lengths, 131));
      if (HasFatalFailure()) return;
    }
}

// Backends walk keys in blocks; the borders of CUDA's are 1,024 apart.
TEST_P(AttentionConformance, IsTheReferencesOverThousandsOfKeys) {
  for (const Attention& c :
       {Attention{2, 1, 16, DType::bf16, {1100}}, {1, 1, 16, DType::f8_e4m3, {2060}, 0.02f, 0.3f}}) {
    SCOPED_TRACE(name_of(c));
    Steps steps;
    std::int64_t left = c.lengths[0];
    for (const std::int64_t count : {300, 300, 300, 122, 1, 1, 1, 1, 74, 300, 300, 300, 46, 1, 1, 1, 2, 9}) {
      if (left > 0) steps.push_back({{0, std::min(count, left)}});
      left -= count;
    }
    expect_as_reference(backend(), reference, c, steps, one_of_many_pages());
    if (HasFatalFailure()) return;
  }
}

TEST_P(AttentionConformance, ManyHeadsShareOneKey) {
  for (const std::int64_t heads : {16, 20, 65}) {
    const Attention c{heads, 1, 16, DType::bf16, {7, 3}};
    SCOPED_TRACE(name_of(c));
    expect_as_reference(backend(), reference, c, chunks_together(c.lengths, 4));
  }
}

TEST_P(AttentionConformance, IsTheReferencesAtPageBorders) {
  for (const std::int64_t length : {62, 63, 64, 65, 127, 128, 129}) {
    const Attention c{2, 1, 16, DType::bf16, {length, 1, 65}};
    SCOPED_TRACE(std::to_string(length) + " tokens");
    expect_as_reference(backend(), reference, c, chunks_together(c.lengths, length));
    expect_as_reference(backend(), reference, c, {{{0, length - 1}, {1, 1}}, {{2, 64}, {0, 1}}, {{2, 1}}});
    if (HasFatalFailure()) return;
  }
}

TEST_P(AttentionConformance, ValuesBeyondE4m3Saturate) {
  const Attention c{1, 1, 16, DType::f8_e4m3, {7}, 0.001f, 0.001f};
  const Steps steps = one_sequence_a_step(c.lengths);
  const Outcome found = run(backend(), c, steps, in_order()), expected = run(reference, c, steps, in_order());
  EXPECT_TRUE(found.state[0] == expected.state[0]);
  for (const float v : found.out[0].values) EXPECT_LE(std::fabs(v), 0.4481f);
}

TEST_P(AttentionConformance, AScaleOfBf16KeysIsNotLookedAt) {
  const Attention plain{2, 1, 24, DType::bf16, {66}};
  Attention scaled = plain;
  scaled.k_scale = 7, scaled.v_scale = 0.01f;
  const Steps steps = one_sequence_a_step(plain.lengths);
  expect_same_outcome(run(backend(), scaled, steps, in_order()), run(backend(), plain, steps, in_order()));
}

TEST_P(AttentionConformance, ASequenceStandsAlone) {
  for (const Attention& c : {Attention{4, 2, 24, DType::bf16, {67, 3, 129}},
                             {5, 1, 80, DType::f8_e4m3, {66, 1, 18}, 0.02f, 0.3f},
                             {16, 2, 128, DType::bf16, {19, 2, 65}}}) {
    SCOPED_TRACE(name_of(c));
    expect_sequences_stand_alone(GetParam(), c.lengths, [&](Backend& be, const Steps& steps, const Places& places) {
      return run(be, c, steps, places);
    });
    if (HasFatalFailure()) return;
  }
}

TEST_P(AttentionConformance, PagesMayBeSharedByTwoSequences) {
  const Attention c{2, 1, 16, DType::bf16, {64, 67}};
  const Streams q = c.q(), k = c.k(), v = c.v();
  const std::vector<std::byte> nan(std::size_t(kPages * c.page_bytes()), std::byte{0xff});
  KvPages cache{upload(backend(), nan), c.dtype, kPage, c.kv_heads, c.head_dim};
  const std::vector<std::int32_t> first = {3, 9}, second = {3, 5};
  const auto step = [&](const std::vector<SequenceRows>& sequences, const Floats& queries, const Floats& keys,
                        const Floats& values) {
    const std::vector<TokenId> tokens(std::size_t(queries.rows));
    const StagedBatch batch = backend().stage({tokens, sequences, {}});
    const Placed a = place(backend(), queries), b = place(backend(), keys), d = place(backend(), values),
                 out = place_output(backend(), queries.rows, queries.cols);
    backend().append_kv(batch, b, d, cache);
    backend().attention(batch, a, cache, c.scale(), out);
    return fetch(backend(), out);
  };
  step({{0, 64, 0, 0, first}}, q[0], k[0], v[0]);
  const auto twice = [](const Floats& m) {
    Floats rows = m.slice(64, 3);
    rows.append(m.slice(64, 3));
    return rows;
  };
  const Floats both = step({{0, 3, 64, 0, first}, {3, 3, 64, 1, second}}, twice(q[1]), twice(k[1]), twice(v[1]));
  expect_same_bits(both.slice(0, 3), both.slice(3, 3));
}

}  // namespace
}  // namespace strata::conformance
