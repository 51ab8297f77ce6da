// The selective state space's scan, and the state that it leaves behind.
#include "backend/conformance/conformance_sequences.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(ScanConformance);

struct Scan {
  std::int64_t heads, head_dim, state_size, groups;
  std::vector<std::int64_t> lengths;
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();

  std::int64_t inner() const { return heads * head_dim; }
  Streams xBC() const { return random_streams(lengths, inner() + 2 * groups * state_size, 1); }
  Streams dt() const { return random_streams(lengths, heads, 2, 2); }
  Floats A_log() const { return random(1, heads, 3); }
  Floats D() const { return random(1, heads, 4); }
  Floats dt_bias() const { return random(1, heads, 5); }
  Floats past(std::size_t sequence) const { return random(inner(), state_size, 50 + std::uint32_t(sequence)); }
};

Outcome run(Backend& backend, const Scan& c, const Steps& steps, const Places& places) {
  const Streams xBC = c.xBC(), dt = c.dt();
  std::vector<std::vector<std::byte>> before;
  for (std::size_t s = 0; s < xBC.size(); ++s) before.push_back(bytes_of(c.past(s).values));
  SsmState state{upload(backend, slots_of(before, places)), c.heads, c.head_dim, c.state_size};
  const SsdParameters p{vector_on(backend, c.A_log()),
                        vector_on(backend, c.D()),
                        vector_on(backend, c.dt_bias()),
                        c.groups,
                        c.dt_min,
                        c.dt_max};
  Outcome outcome{unset_streams(c.lengths, c.inner()), {}};
  run_steps(backend, steps, places, [&](const StagedBatch& batch, const StepRows& step) {
    const Placed in = place(backend, step.take(xBC)), steps_in = place(backend, step.take(dt)),
                 out = place_output(backend, std::ssize(step.rows), c.inner());
    backend.ssd_scan(batch, in, steps_in, p, state, out);
    step.give(fetch(backend, out), outcome.out);
  });
  const std::int64_t bytes = kSlots * c.inner() * c.state_size * 4;
  outcome.state = states_in(fetch_bytes(backend, state.data, bytes), places, xBC.size());
  return outcome;
}

/// What the recurrence's results and state may be off by, from its magnitudes.
struct Bounds {
  Floats out;
  std::vector<double> state;
};

Bounds bounds_of(const Scan& c, std::size_t sequence) {
  const Floats xBC = c.xBC()[sequence], dt = c.dt()[sequence], A_log = c.A_log(), D = c.D(), bias = c.dt_bias();
  const std::int64_t N = c.state_size;
  std::vector<double> size, error(std::size_t(c.inner() * N));
  for (const float v : c.past(sequence).values) size.push_back(std::fabs(v));
  Floats out(xBC.rows, c.inner());
  for (std::int64_t t = 0; t < xBC.rows; ++t)
    for (std::int64_t i = 0; i < c.inner(); ++i) {
      const std::int64_t h = i / c.head_dim, group = h / (c.heads / c.groups);
      const double v = double(dt.at(t, h)) + bias.at(0, h);
      const double step = std::clamp<double>(std::log1p(std::exp(v)), c.dt_min, c.dt_max);
      const double rate = step * std::exp(double(A_log.at(0, h))), decay = std::exp(-rate);
      const double step_error = std::fabs(v) + 8;  // relative: the sum's rounding, softplus's
      double read = std::fabs(double(D.at(0, h)) * xBC.at(t, i)), read_error = 0;
      for (std::int64_t n = 0; n < N; ++n) {
        double &S = size[std::size_t(i * N + n)], &E = error[std::size_t(i * N + n)];
        const double added = std::fabs(step * xBC.at(t, i) * xBC.at(t, c.inner() + group * N + n));
        const double C = std::fabs(xBC.at(t, c.inner() + (c.groups + group) * N + n));
        E = decay * E + kRounding * (decay * S * (rate * (step_error + 6) + 4) + added * (step_error + 6));
        S = decay * S + added;
        read += S * C, read_error += E * C;
      }
      out.at(t, i) = float(1.01 * (read_error + (double(N) + 8) * kRounding * read));
    }
  return {out, error};
}

/// `chunk` tokens a step of every sequence.
void expect_as_reference(Backend& backend, Backend& reference, const Scan& c, std::int64_t chunk) {
  SCOPED_TRACE(std::to_string(c.heads) + " heads of " + std::to_string(c.head_dim) + ", " +
               std::to_string(c.state_size));
  const Steps steps = chunks_together(c.lengths, chunk);
  const Outcome found = run(backend, c, steps, shuffled()), expected = run(reference, c, steps, shuffled());
  for (std::size_t s = 0; s < c.lengths.size(); ++s) {
    SCOPED_TRACE("sequence " + std::to_string(s));
    const Bounds bounds = bounds_of(c, s);
    expect_close(found.out[s], expected.out[s], [&](auto t, auto i) { return double(bounds.out.at(t, i)); });
    const auto left = values_of<float>(found.state[s]), right = values_of<float>(expected.state[s]);
    for (std::size_t i = 0; i < left.size(); ++i)
      ASSERT_NEAR(left[i], right[i], 1.01 * bounds.state[i] + 1e-35) << "state " << i;
  }
}

TEST_P(ScanConformance, IsTheReferencesForTheManyTokensOfPrompts) {
  for (const Scan& c : {Scan{4, 64, 128, 2, {130, 65, 3}},
                        {4, 64, 64, 4, {66, 1, 129}},
                        {6, 80, 128, 2, {66, 65, 1}},
                        {3, 7, 20, 3, {150, 2, 65}},
                        {2, 16, 16, 2, {133, 1, 1}, 0.05f, 0.8f}}) {
    expect_as_reference(backend(), reference, c, 200);
    if (HasFatalFailure()) return;
  }
}

TEST_P(ScanConformance, IsTheReferencesAndLeavesItsState) {
  for (const Scan& c : {Scan{1, 1, 1, 1, {7, 1, 2}},
                        {4, 8, 128, 2, {67, 1, 3}},
                        {2, 5, 64, 1, {17, 16, 1}},
                        {3, 7, 20, 3, {17, 2, 65}},
                        {2, 4, 16, 2, {33, 1, 1}, 0.05f, 0.8f},
                        {6, 2, 17, 2, {7, 7, 7}}}) {
    expect_as_reference(backend(), reference, c, 23);
    if (HasFatalFailure()) return;
  }
}

TEST_P(ScanConformance, StepsFarFromZeroForgetOrKeep) {
  Scan c{2, 4, 16, 1, {4}};
  for (const float dt : {-100.0f, 30.0f, 100.0f}) {
    std::vector<std::vector<std::byte>> before{bytes_of(c.past(0).values)};
    SsmState state{upload(backend(), slots_of(before, in_order())), 2, 4, 16};
    const SsdParameters p{vector_on(backend(), Floats(1, 2)), vector_on(backend(), Floats(1, 2)),
                          vector_on(backend(), Floats(1, 2))};
    Floats xBC(1, 40);
    const SequenceRows sequence{0, 1, 0, 0, {}};
    const TokenId token = 0;
    const Placed in = place(backend(), xBC), steps = place(backend(), Floats(1, 2, dt)),
                 out = place_output(backend(), 1, 8);
    backend().ssd_scan(backend().stage({{&token, 1}, {&sequence, 1}, {}}), in, steps, p, state, out);
    const auto left = values_of<float>(fetch_bytes(backend(), state.data, 8 * 16 * 4));
    for (std::size_t i = 0; i < left.size(); ++i) {
      EXPECT_NEAR(left[i], dt < 0 ? c.past(0).values[i] : 0, 1e-9) << dt;
    }
    for (const float v : fetch(backend(), out).values) EXPECT_EQ(v, 0);
  }
}

TEST_P(ScanConformance, ASequenceStandsAlone) {
  for (const Scan& c : {Scan{4, 8, 128, 2, {67, 3, 18}}, {3, 5, 64, 1, {35, 1, 17}}, {2, 3, 20, 2, {19, 4, 66}}}) {
    SCOPED_TRACE(std::to_string(c.state_size) + " values a row");
    expect_sequences_stand_alone(GetParam(), c.lengths, [&](Backend& be, const Steps& steps, const Places& places) {
      return run(be, c, steps, places);
    });
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace strata::conformance
