// Mamba-2's causal convolution, and the inputs that it leaves behind.
#include "backend/conformance/conformance_sequences.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(ConvConformance);

struct Conv {
  std::int64_t channels, width;
  std::vector<std::int64_t> lengths;
  double scale = 1;

  Streams x() const { return random_streams(lengths, channels, 1, scale); }
  Floats kernel() const { return random(channels, width, 2); }
  Floats bias() const { return random(1, channels, 3); }
  /// The inputs before the first token: not zero, as after a chunk.
  Floats past(std::size_t sequence) const {
    Floats m = random(width - 1, channels, 40 + std::uint32_t(sequence), scale);
    for (float& v : m.values) v = round_to_bf16(v);
    return m;
  }
};

Outcome run(Backend& backend, const Conv& c, const Steps& steps, const Places& places, bool absolute = false) {
  Streams x = c.x();
  Floats kernel = c.kernel(), bias = c.bias();
  if (absolute) {
    for (Floats& m : x) m = magnitudes(m);
    kernel = magnitudes(kernel), bias = magnitudes(bias);
  }
  std::vector<std::vector<std::byte>> before;
  for (std::size_t s = 0; s < x.size(); ++s) {
    std::vector<bf16> past;
    for (const float v : c.past(s).values) past.push_back(to_bf16(absolute ? std::fabs(v) : v));
    before.push_back(bytes_of(past));
  }
  ConvState state{upload(backend, slots_of(before, places)), DType::bf16, c.channels, c.width};
  const Table taps = table_on(backend, kernel);
  const Vector biases = vector_on(backend, bias);
  Outcome outcome{unset_streams(c.lengths, c.channels), {}};
  run_steps(backend, steps, places, [&](const StagedBatch& batch, const StepRows& step) {
    const Placed in = place(backend, step.take(x)), out = place_output(backend, std::ssize(step.rows), c.channels);
    backend.causal_conv1d_silu(batch, in, taps, biases, state, out);
    step.give(fetch(backend, out), outcome.out);
  });
  const std::int64_t bytes = kSlots * (c.width - 1) * c.channels * 2;
  outcome.state = states_in(fetch_bytes(backend, state.data, bytes), places, x.size());
  return outcome;
}

TEST_P(ConvConformance, IsTheReferencesAndLeavesItsLastInputs) {
  struct Cut {
    std::vector<std::int64_t> lengths;
    std::int64_t chunk;
  };
  for (const std::int64_t width : {1, 2, 3, 4, 7})
    for (const std::int64_t channels : {1, 7, 16, 17, 150})
      for (const Cut& cut : {Cut{{17, 1, 2}, 5}, {{130, 1, 66}, 99}}) {
        SCOPED_TRACE(std::to_string(width) + " taps, " + std::to_string(channels) + " channels, chunks of " +
                     std::to_string(cut.chunk));
        const Conv c{channels, width, cut.lengths};
        const Steps steps = chunks_together(c.lengths, cut.chunk);
        const Outcome found = run(backend(), c, steps, shuffled()), expected = run(reference, c, steps, shuffled());
        for (std::size_t s = 0; s < c.lengths.size(); ++s) {
          const Floats x = c.x()[s], kernel = c.kernel(), bias = c.bias();
          expect_close(found.out[s], expected.out[s], [&](std::int64_t t, std::int64_t i) {
            double size = std::fabs(bias.at(0, i));
            for (std::int64_t k = 0; k < width; ++k) {
              const std::int64_t at = t - width + 1 + k;
              const float v = at >= 0 ? x.at(at, i) : c.past(s).at(at + width - 1, i);
              size += std::fabs(double(kernel.at(i, k)) * v) * 1.01;
            }
            // The sum's roundings (silu' < 1.1), and silu's own.
            return (1.1 * (double(width) + 4) * size + 8 * std::fabs(double(expected.out[s].at(t, i)))) * kRounding;
          });
          EXPECT_TRUE(found.state[s] == expected.state[s]) << "the inputs left behind";
        }
        if (HasFatalFailure()) return;
      }
}

TEST_P(ConvConformance, LargeSumsShutOrPass) {
  const Conv c{17, 4, {7}, 1000};
  const Steps steps = one_sequence_a_step(c.lengths);
  const Outcome found = run(backend(), c, steps, in_order()), expected = run(reference, c, steps, in_order());
  const Outcome size = run(reference, c, steps, in_order(), true);
  expect_close(found.out[0], expected.out[0],
               [&](auto t, auto i) { return 16 * kRounding * double(size.out[0].at(t, i)); });
}

TEST_P(ConvConformance, ASequenceStandsAlone) {
  for (const std::int64_t width : {1, 2, 4, 5}) {
    const Conv c{145, width, {67, 3, 18}};
    SCOPED_TRACE(std::to_string(width) + " taps");
    expect_sequences_stand_alone(GetParam(), c.lengths, [&](Backend& be, const Steps& steps, const Places& places) {
      return run(be, c, steps, places);
    });
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace strata::conformance
