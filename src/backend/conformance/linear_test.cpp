// Products with weights of every format, the router's product, and rows of embedding tables.
#include "backend/conformance/conformance_weights.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(LinearConformance);

TEST_P(LinearConformance, EveryFormatIsTheReferencesProduct) {
  for (const std::string& format : formats())
    for (const std::int64_t out : {1, 7, 16, 17, 33})
      for (const std::int64_t in : {1, 7, 16, 17, 48, 80, 272}) {
        if (!takes(format, in)) continue;
        const LinearWeight w = random_weight(format, out, in, std::uint32_t(out * 1000 + in));
        for (const std::int64_t tokens : {1, 2, 7, 17}) {
          SCOPED_TRACE(format + " [" + std::to_string(out) + ", " + std::to_string(in) + "], " +
                       std::to_string(tokens));
          const Floats x = random(tokens, in, std::uint32_t(tokens));
          const Floats size = linear_magnitudes(reference, x, w);
          expect_close(linear(backend(), x, w), linear(reference, x, w),
                       [&](auto r, auto c) { return product_roundings(in) * size.at(r, c); });
          if (HasFatalFailure()) return;
        }
      }
}

TEST_P(LinearConformance, EveryFormatIsTheReferencesProductForTheManyRowsOfAPrompt) {
  for (const std::string& format : formats())
    for (const std::int64_t out : {1, 129})
      for (const std::int64_t in : {48, 592}) {
        const LinearWeight w = random_weight(format, out, in, std::uint32_t(out * 1000 + in));
        const Floats x = random(300, in, 7);
        const Floats size = linear_magnitudes(reference, x, w), expected = linear(reference, x, w);
        for (const std::int64_t tokens : {65, 128, 129, 300}) {
          SCOPED_TRACE(format + " [" + std::to_string(out) + ", " + std::to_string(in) + "], " +
                       std::to_string(tokens));
          expect_close(linear(backend(), x.slice(0, tokens), w), expected.slice(0, tokens),
                       [&](auto r, auto c) { return product_roundings(in) * size.at(r, c); });
          if (HasFatalFailure()) return;
        }
      }
}

// One token at a time, as many as one small step has, and a prompt: the bits of the decoder's table times the scale.
TEST_P(LinearConformance, EveryNvfp4CodeTimesEveryScaleIsExact) {
  std::int64_t pairs = 0;
  for (std::int64_t turn = 0; turn < 16; ++turn) {
    const LinearWeight w = nvfp4_codes_and_scales(turn);
    const auto loaded = backend().load_linear({&w, 1});
    const Floats table = decoded(w), units = unit_rows(128, 64);
    const auto expect_columns = [&](std::int64_t first, std::int64_t count) {
      const Placed in = place(backend(), units.slice(first, count)),
                   out = place_output(backend(), count, out_features(w));
      backend().linear(in, *loaded, out);
      const Floats found = fetch(backend(), out);
      for (std::int64_t t = 0; t < count; ++t)
        for (std::int64_t r = 0; r < table.rows; ++r)
          ASSERT_EQ(found.at(t, r), table.at(r, (first + t) % 64))
              << "scale " << r << ", column " << (first + t) % 64 << ", " << count << " rows";
    };
    for (std::int64_t t = 0; t < 16; ++t) expect_columns(t * 4 + turn % 4, 1);
    expect_columns(0, 64);
    expect_columns(0, 128);
    if (HasFatalFailure()) return;
    pairs += table.rows * table.cols;
  }
  EXPECT_EQ(pairs, 254 * 16 * 64) << "every code and scale in every column";
}

TEST_P(LinearConformance, EveryFp8CodeIsExact) {
  const std::vector<std::uint8_t> all = e4m3_codes();
  std::vector<std::uint8_t> codes;
  for (std::size_t r = 0; r < all.size(); ++r)
    for (std::size_t c = 0; c < 64; ++c) codes.push_back(all[(r + c) % all.size()]);
  const LinearWeight w = Fp8Weight{stored(codes, DType::f8_e4m3, std::ssize(all), 64), 0.0371f};
  const Floats table = decoded(w), found = linear(backend(), unit_rows(128, 64), w);
  for (std::int64_t t = 0; t < 128; ++t)
    for (std::int64_t r = 0; r < table.rows; ++r) ASSERT_EQ(found.at(t, r), table.at(r, t % 64)) << r << ", " << t;
}

// Sums of whole numbers are exact in any order; 257 and its like show whether x is rounded to bf16, and how.
TEST_P(LinearConformance, InputsAreRoundedToBf16AndNothingElseIs) {
  for (const std::string& format : formats()) {
    const std::int64_t in = 48, out = 35;
    const LinearWeight w = whole_weight(format, out, in, 3);
    Floats x(9, in);
    std::mt19937 bits(5);
    for (float& v : x.values) v = float(std::int32_t(bits() % 1025)) - 512;
    x.at(0, 0) = 257, x.at(0, 1) = 259, x.at(1, 2) = -257, x.at(1, 3) = 511;
    SCOPED_TRACE(format);
    expect_same_bits(linear(backend(), x, w), linear(reference, x, w));
  }
}

TEST_P(LinearConformance, ARowStandsAlone) {
  for (const std::string& format : formats()) {
    const LinearWeight w = random_weight(format, 71, 80, 9);
    const Floats x = random(37, 80, 10);
    SCOPED_TRACE(format);
    expect_rows_stand_alone(GetParam(), x.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
      return linear(be, x.slice(first, count), w);
    });
  }
}

TEST_P(LinearConformance, MoreRowsThanAnyBlockOfTheBackendStandAlone) {
  const LinearWeight w = random_weight("nvfp4", 33, 48, 11);
  const Floats x = random(300, 48, 12);
  const Floats all = linear(backend(), x, w);
  for (const std::int64_t r : {0, 63, 64, 127, 255, 256, 299})
    expect_same_bits(linear(backend(), x.slice(r, 1), w), all.slice(r, 1));
}

TEST_P(LinearConformance, TheFormatAndTheShapeAreTheWeights) {
  for (const std::string& format : formats()) {
    const LinearWeight w = random_weight(format, 17, 32, 1);
    const auto loaded = backend().load_linear({&w, 1});
    EXPECT_EQ(loaded->format, format);
    EXPECT_EQ(loaded->out_features, 17);
    EXPECT_EQ(loaded->in_features, 32);
    EXPECT_EQ(loaded->experts, 1);
    EXPECT_EQ(loaded->packed_bytes, backend().packed_bytes({&w, 1}));
    EXPECT_GE(loaded->packed_bytes, stored_bytes(w));
  }
  const std::vector<LinearWeight> mixed = {random_weight("fp8", 17, 32, 1), random_weight("bf16", 17, 32, 2)};
  const auto bank = backend().load_linear(mixed);
  EXPECT_EQ(bank->format, "mixed");
  EXPECT_EQ(bank->experts, 2);
}

Floats linear_f32(Backend& backend, const Floats& x, const Floats& w) {
  const Placed in = place(backend, x), out = place_output(backend, x.rows, w.rows);
  const Table table = table_on(backend, w);
  backend.linear_f32(in, table, out);
  return fetch(backend, out);
}

TEST_P(LinearConformance, TheRoutersProductRoundsNothing) {
  for (const std::int64_t out : {1, 7, 16, 17, 128})
    for (const std::int64_t in : {1, 7, 16, 17, 96}) {
      const Floats x = random(7, in, 1), w = random(out, in, 2);
      const Floats size = linear_f32(reference, magnitudes(x), magnitudes(w));
      expect_close(linear_f32(backend(), x, w), linear_f32(reference, x, w),
                   [&](auto r, auto c) { return product_roundings(in) * size.at(r, c); });
    }
  const Floats x = random(17, 80, 3), w = random(19, 80, 4);
  expect_rows_stand_alone(GetParam(), x.rows, [&](Backend& be, std::int64_t first, std::int64_t count) {
    return linear_f32(be, x.slice(first, count), w);
  });
}

Floats embed(Backend& backend, const Linear& table, const std::vector<TokenId>& tokens) {
  const SequenceRows sequence{0, std::ssize(tokens), 0, 0, {}};
  const StagedBatch batch = backend.stage({tokens, {&sequence, 1}, {}});
  const Placed out = place_output(backend, std::ssize(tokens), table.in_features);
  backend.embed(batch, table, out);
  return fetch(backend, out);
}

TEST_P(LinearConformance, EmbeddingsAreTheRowsOfTheTableInEveryFormat) {
  for (const std::string& format : formats())
    for (const std::int64_t width : {7, 16, 48}) {
      if (!takes(format, width)) continue;
      SCOPED_TRACE(format);
      const LinearWeight w = random_weight(format, 37, width, 6);
      const auto table = backend().load_linear({&w, 1});
      const std::vector<TokenId> tokens = {36, 0, 17, 17, 16, 15, 1};
      const Floats found = embed(backend(), *table, tokens), rows = decoded(w);
      for (std::int64_t t = 0; t < found.rows; ++t)
        expect_same_bits(found.slice(t, 1), rows.slice(tokens[std::size_t(t)], 1));
    }
}

}  // namespace
}  // namespace strata::conformance
