// The routed experts of a mixture: banks of every format, crowded and deserted experts.
#include "backend/conformance/conformance_weights.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(ExpertsConformance);

struct Bank {
  std::vector<LinearWeight> up, down;
};

/// `make` makes a weight; "mixed" banks take the formats in turn.
template <class Make>
Bank bank_of(const std::string& format, std::int64_t n, std::int64_t width, std::int64_t inner, Make&& make) {
  Bank bank;
  for (std::uint32_t e = 0; e < std::uint32_t(n); ++e) {
    bank.up.push_back(make(format == "mixed" ? formats()[e % 4] : format, inner, width, 10 + e));
    bank.down.push_back(make(format == "mixed" ? formats()[(e + 1) % 4] : format, width, inner, 90 + e));
  }
  return bank;
}

struct Routes {
  Array<std::int32_t> ids;
  Floats weights;
};

/// k of n experts a token, ascending; expert 1 is nobody's. Weights are powers of two, so that sums can be exact.
Routes random_routes(std::int64_t tokens, std::int64_t k, std::int64_t n, std::uint32_t seed) {
  Routes r{{tokens, k}, {tokens, k}};
  std::mt19937 bits(seed);
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<std::int32_t> ids;
    while (std::ssize(ids) < k) {
      const auto id = std::int32_t(bits() % std::uint32_t(n));
      if (id != 1 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end());
    for (std::int64_t i = 0; i < k; ++i) {
      r.ids.at(t, i) = ids[std::size_t(i)];
      r.weights.at(t, i) = 1 / float(1 << bits() % 3);
    }
  }
  return r;
}

Floats experts(Backend& backend, const Floats& x, const Routes& routes, const Bank& bank) {
  const auto up = backend.load_linear(bank.up), down = backend.load_linear(bank.down);
  const Placed in = place(backend, x), ids = place(backend, routes.ids), weights = place(backend, routes.weights),
               out = place_output(backend, x.rows, down->out_features);
  backend.experts(in, {ids, weights}, *up, *down, out);
  return fetch(backend, out);
}

Floats whole_numbers(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  std::mt19937 bits(seed);
  Floats m(rows, cols);
  for (float& v : m.values) v = float(std::int32_t(bits() % 7)) - 3;
  return m;
}

// With whole numbers every product and sum is exact, in any order: what is left to differ is where is rounded.
TEST_P(ExpertsConformance, WholeNumbersGiveTheReferencesBits) {
  for (const std::string format : {"bf16", "f32", "fp8", "nvfp4", "mixed"})
    for (const std::int64_t k : {1, 2, 3, 4, 5})
      for (const std::int64_t tokens : {1, 7, 17}) {
        SCOPED_TRACE(std::string(format) + ", " + std::to_string(k) + " a token, " + std::to_string(tokens));
        const Bank bank = bank_of(format, 9, 48, 32, whole_weight);
        const Routes routes = random_routes(tokens, k, 9, std::uint32_t(k));
        Floats x = whole_numbers(tokens, 48, 4);
        x.at(0, 0) = 257;  // is 256 in bf16
        expect_same_bits(experts(backend(), x, routes, bank), experts(reference, x, routes, bank));
        if (HasFatalFailure()) return;
      }
}

TEST_P(ExpertsConformance, OddShapesAreTheReferences) {
  for (const std::string format : {"bf16", "f32", "fp8"})
    for (const std::int64_t width : {1, 7, 17})
      for (const std::int64_t inner : {1, 7, 33}) {
        SCOPED_TRACE(std::string(format) + " " + std::to_string(width) + ", " + std::to_string(inner));
        const Bank bank = bank_of(format, 5, width, inner, whole_weight);
        const Routes routes = random_routes(7, 3, 5, 2);
        const Floats x = whole_numbers(7, width, 5);
        expect_same_bits(experts(backend(), x, routes, bank), experts(reference, x, routes, bank));
        if (HasFatalFailure()) return;
      }
}

TEST_P(ExpertsConformance, PromptsGiveTheReferencesBitsInEveryFormat) {
  for (const std::string format : {"bf16", "f32", "fp8", "nvfp4", "mixed"})
    for (const std::int64_t tokens : {65, 130, 300}) {
      SCOPED_TRACE(std::string(format) + ", " + std::to_string(tokens));
      const Bank bank = bank_of(format, 9, 80, 48, whole_weight);
      const Routes routes = random_routes(tokens, 4, 9, 3);
      const Floats x = whole_numbers(tokens, 80, 4);
      expect_same_bits(experts(backend(), x, routes, bank), experts(reference, x, routes, bank));
      if (HasFatalFailure()) return;
    }
}

// An expert's hidden row is one 1, so its answer is a column of its second matrix: 16 experts have all columns' codes.
TEST_P(ExpertsConformance, EveryNvfp4CodeTimesEveryScaleIsExact) {
  Bank bank;
  for (std::int64_t turn = 0; turn < 16; ++turn) {
    bank.up.push_back(dense(unit_rows(64, 64), DType::bf16));
    bank.down.push_back(nvfp4_codes_and_scales(turn));
  }
  std::vector<Floats> tables;
  for (const LinearWeight& w : bank.down) tables.push_back(decoded(w));
  for (const std::int64_t tokens : {1, 64, 128})
    for (std::int32_t turn = 0; turn < 16; ++turn) {
      const Routes routes{{tokens, 1, turn}, {tokens, 1, 1.0f}};
      const Floats found = experts(backend(), unit_rows(tokens, 64), routes, bank);
      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t r = 0; r < found.cols; ++r)
          ASSERT_EQ(found.at(t, r), tables[std::size_t(turn)].at(r, t % 64)) << "scale " << r << ", token " << t;
    }
}

TEST_P(ExpertsConformance, ScalesAndFractionsAreTheReferences) {
  for (const std::string format : {"bf16", "f32", "fp8", "nvfp4", "mixed"}) {
    SCOPED_TRACE(format);
    const Bank bank = bank_of(format, 6, 64, 48, random_weight);
    Routes routes = random_routes(17, 3, 6, 6);
    routes.weights = magnitudes(random(17, 3, 7));
    const Floats x = random(17, 64, 8, 0.5);
    // relu(up)^2 may round to either neighbour in bf16 where it lies between: 2^-8 of every term, at most.
    Bank sizes;
    for (const LinearWeight& w : bank.up) sizes.up.push_back(w);
    for (const LinearWeight& w : bank.down) sizes.down.push_back(dense(magnitudes(decoded(w)), DType::f32));
    const Floats size = experts(reference, x, routes, sizes);
    expect_close(experts(backend(), x, routes, bank), experts(reference, x, routes, bank),
                 [&](auto r, auto c) { return 0x1p-8 * double(size.at(r, c)); });
  }
}

TEST_P(ExpertsConformance, AllTokensMayGoToOneExpert) {
  const Bank bank = bank_of("fp8", 5, 48, 32, whole_weight);
  Routes routes{{33, 1, 4}, {33, 1, 0.5f}};
  const Floats x = whole_numbers(33, 48, 9);
  expect_same_bits(experts(backend(), x, routes, bank), experts(reference, x, routes, bank));
}

TEST_P(ExpertsConformance, ABankOfOneExpertIsAnMlp) {
  const Bank bank = bank_of("bf16", 1, 17, 9, whole_weight);
  const Routes routes{{3, 1, 0}, {3, 1, 1.0f}};
  const Floats x = whole_numbers(3, 17, 10);
  Floats hidden = linear(backend(), x, bank.up[0]);
  for (float& v : hidden.values) v = std::max(v, 0.0f) * std::max(v, 0.0f);
  expect_same_bits(experts(backend(), x, routes, bank), linear(backend(), hidden, bank.down[0]));
}

TEST_P(ExpertsConformance, ARowStandsAlone) {
  for (const std::string format : {"mixed", "nvfp4"}) {
    const Bank bank = bank_of(format, 8, 64, 48, random_weight);
    for (const std::int64_t k : {1, 5}) {
      SCOPED_TRACE(std::string(format) + ", " + std::to_string(k) + " a token");
      const Routes routes = random_routes(23, k, 8, 11);
      const Floats x = random(23, 64, 12);
      expect_rows_stand_alone(GetParam(), x.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
        return experts(be, x.slice(first, count), {routes.ids.slice(first, count), routes.weights.slice(first, count)},
                       bank);
      });
    }
  }
}

TEST_P(ExpertsConformance, MoreRowsThanAnyBlockOfTheBackendStandAlone) {
  const Bank bank = bank_of("mixed", 8, 48, 32, random_weight);
  const Routes routes = random_routes(300, 3, 8, 13);
  const Floats x = random(300, 48, 14), all = experts(backend(), x, routes, bank);
  for (const std::int64_t r : {0, 255, 256, 299})
    expect_same_bits(experts(backend(), x.slice(r, 1), {routes.ids.slice(r, 1), routes.weights.slice(r, 1)}, bank),
                     all.slice(r, 1));
}

}  // namespace
}  // namespace strata::conformance
