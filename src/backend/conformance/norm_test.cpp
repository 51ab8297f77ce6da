// The norms, and the ops that work value by value.
#include "backend/conformance/conformance_support.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(NormConformance);

constexpr std::int64_t kWidths[] = {1, 7, 16, 17, 48, 63, 65, 272, 1025, 4099};

Floats rms_norm(Backend& backend, const Floats& x, const Floats& weight, float eps) {
  const Placed in = place(backend, x), out = place_output(backend, x.rows, x.cols);
  const Vector weights = vector_on(backend, weight);
  backend.rms_norm(in, weights, eps, out);
  return fetch(backend, out);
}

TEST_P(NormConformance, RmsNormIsTheReferences) {
  for (const std::int64_t n : kWidths)
    for (const double scale : {1e-4, 1.0, 1e4})
      for (const float eps : {1e-5f, 0.1f}) {
        SCOPED_TRACE(std::to_string(n) + " wide");
        const Floats x = random(7, n, 1, scale), weight = random(1, n, 2);
        const Floats expected = rms_norm(reference, x, weight, eps);
        // The sum's roundings, under a root; root, quotient and the two products besides.
        expect_close(rms_norm(backend(), x, weight, eps), expected, [&](auto r, auto c) {
          return (double(n) / 2 + 8) * kRounding * std::fabs(double(expected.at(r, c)));
        });
      }
}

TEST_P(NormConformance, RmsNormOfZerosIsZero) {
  const Floats zeros(2, 17), weight = random(1, 17, 3);
  for (const float v : rms_norm(backend(), zeros, weight, 1e-5f).values) EXPECT_EQ(v, 0);
}

TEST_P(NormConformance, RmsNormOfARowStandsAlone) {
  const Floats x = random(17, 83, 4), weight = random(1, 83, 5);
  expect_rows_stand_alone(GetParam(), x.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
    return rms_norm(be, x.slice(first, count), weight, 1e-5f);
  });
}

struct Gated {
  Floats y, z, weight;
  std::int64_t groups;
};

Floats gated_rms_norm(Backend& backend, const Gated& g, bool in_place = false) {
  const Placed y = place(backend, g.y), z = place(backend, g.z);
  const Placed out = in_place ? y : place_output(backend, g.y.rows, g.y.cols);
  const Vector weight = vector_on(backend, g.weight);
  backend.gated_rms_norm(y, z, weight, g.groups, 1e-5f, out);
  return fetch(backend, out);
}

TEST_P(NormConformance, GatedNormIsTheReferencesInGroupsAndInPlace) {
  for (const std::int64_t groups : {1, 2, 3, 8})
    for (const std::int64_t width : {1, 7, 16, 17, 64}) {
      SCOPED_TRACE(std::to_string(groups) + " groups of " + std::to_string(width));
      const std::int64_t n = groups * width;
      const Gated g{random(5, n, 1), random(5, n, 2, 5), random(1, n, 3), groups};
      const Floats expected = gated_rms_norm(reference, g), found = gated_rms_norm(backend(), g);
      // silu: e^-z to two units, a sum, a quotient, a product; then as rms_norm.
      expect_close(found, expected, [&](auto r, auto c) {
        return (double(width) / 2 + 32) * kRounding * std::fabs(double(expected.at(r, c)));
      });
      expect_same_bits(gated_rms_norm(backend(), g, true), found);
    }
}

TEST_P(NormConformance, GatesFarFromZeroShutOrPass) {
  Gated g{Floats(1, 6, 1.0f), Floats(1, 6), Floats(1, 6, 1.0f), 1};
  g.z.values = {-1000, -90, 0, 1, 90, 1000};
  const Floats found = gated_rms_norm(backend(), g), expected = gated_rms_norm(reference, g);
  expect_close(found, expected, [](auto, auto) { return 1e-6; });
}

TEST_P(NormConformance, GatedNormOfARowStandsAlone) {
  const Gated g{random(17, 96, 4), random(17, 96, 5), random(1, 96, 6), 3};
  expect_rows_stand_alone(GetParam(), g.y.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
    return gated_rms_norm(be, {g.y.slice(first, count), g.z.slice(first, count), g.weight, g.groups});
  });
}

Floats relu_squared(Backend& backend, const Floats& x, bool in_place) {
  const Placed in = place(backend, x), out = in_place ? in : place_output(backend, x.rows, x.cols);
  backend.relu_squared(in, out);
  return fetch(backend, out);
}
Floats add(Backend& backend, const Floats& x, const Floats& to) {
  const Placed in = place(backend, x), out = place(backend, to);
  backend.add(in, out);
  return fetch(backend, out);
}

TEST_P(NormConformance, ReluSquaredAndAddAreExact) {
  for (const std::int64_t n : kWidths) {
    Floats x = random(7, n, 7, 100);
    x.values[0] = -0.0f, x.values.back() = 1e30f;
    const Floats to = random(7, n, 8);
    expect_same_bits(relu_squared(backend(), x, false), relu_squared(reference, x, false));
    expect_same_bits(relu_squared(backend(), x, true), relu_squared(reference, x, false));
    expect_same_bits(add(backend(), x, to), add(reference, x, to));
  }
}

TEST_P(NormConformance, GatherTakesTheRowsAskedFor) {
  const Floats x = random(9, 17, 9);
  for (const std::vector<std::int32_t>& rows : {std::vector<std::int32_t>{8}, {0, 3, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8}}) {
    const std::vector<TokenId> tokens(9);
    const SequenceRows sequences[] = {{0, 4, 0, 2, {}}, {4, 5, 7, 1, {}}};
    const Placed in = place(backend(), x), out = place_output(backend(), std::ssize(rows), x.cols);
    const StagedBatch batch = backend().stage({tokens, sequences, rows});
    backend().gather_logit_rows(batch, in, out);
    const Floats found = fetch(backend(), out);
    for (std::size_t r = 0; r < rows.size(); ++r)
      expect_same_bits(found.slice(std::int64_t(r), 1), x.slice(rows[r], 1));
  }
}

}  // namespace
}  // namespace strata::conformance
