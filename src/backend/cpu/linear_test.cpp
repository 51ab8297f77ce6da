// Linear layers of every format and instruction set against their rows decoded one by one.
#include <cmath>

#include "backend/cpu/cpu_test_support.h"

namespace strata {
namespace {

using namespace cpu_test;

const char* const kFormats[] = {"f32", "bf16", "fp8", "nvfp4"};

class CpuLinear : public EveryIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, CpuLinear, testing::ValuesIn(kIsas),
                         [](const auto& isa) { return std::string(name_of(isa.param)); });

std::vector<float> product(CpuBackend& backend, const LinearWeight& weight, const std::vector<float>& x,
                           std::int64_t tokens) {
  const auto linear = backend.load_linear({&weight, 1});
  std::vector<float> out(static_cast<std::size_t>(tokens * out_features(weight)), -1);
  backend.linear(view(x, tokens), *linear, view(out, tokens));
  return out;
}

void expect_close(const LinearWeight& weight, const std::vector<float>& x, std::int64_t tokens,
                  const std::vector<float>& out) {
  const std::int64_t rows = out_features(weight), cols = in_features(weight);
  // Roundings on the way of one product: its partial sum's, the sum's over blocks, the scales'; two each without fma.
  const double roundings = 2 * (16 + double(cols) / 16) + 8;
  std::vector<float> w(static_cast<std::size_t>(cols));
  for (std::int64_t o = 0; o < rows; ++o) {
    decode_row(weight, o, w);
    for (std::int64_t t = 0; t < tokens; ++t) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < cols; ++k) {
        const double term = double(w[std::size_t(k)]) * round_to_bf16(x[std::size_t(t * cols + k)]);
        sum += term, magnitude += std::fabs(term);
      }
      ASSERT_NEAR(out[std::size_t(t * rows + o)], sum, roundings * 0x1p-24 * magnitude + 1e-30)
          << "token " << t << " row " << o;
    }
  }
}

TEST_P(CpuLinear, IsTheSumOfDecodedRows) {
  CpuBackend backend(2, GetParam());
  backend.reserve(limits());
  for (const std::string format : kFormats)
    for (const std::int64_t rows : {1, 7, 16, 17, 40})
      for (const std::int64_t cols : {16, 48, 80, 27, 272, 512}) {
        if (format == "nvfp4" && cols % 16 != 0) continue;
        const LinearWeight weight = random_weight(format, rows, cols, std::uint32_t(rows * 1000 + cols));
        for (const std::int64_t tokens : {1, 2, 3, 7, 33}) {
          SCOPED_TRACE(format + " " + std::to_string(rows) + "x" + std::to_string(cols));
          const auto x = random_floats(tokens * cols, std::uint32_t(tokens));
          expect_close(weight, x, tokens, product(backend, weight, x, tokens));
        }
      }
}

TEST_P(CpuLinear, RowHasTheSameBitsAloneAndInAnyCompanyOfRowsAndThreads) {
  const std::int64_t rows = 168, cols = 336;
  for (const std::string format : kFormats) {
    const LinearWeight weight = random_weight(format, rows, cols, 5);
    const auto x = random_floats(300 * cols, 6);
    std::vector<float> alone;
    {
      CpuBackend backend(1, GetParam());
      backend.reserve(limits());
      for (std::int64_t t = 0; t < 300; ++t) {
        const auto row = product(backend, weight, {x.begin() + t * cols, x.begin() + (t + 1) * cols}, 1);
        alone.insert(alone.end(), row.begin(), row.end());
      }
    }
    for (const int threads : {1, 2, 3})
      for (const std::int64_t tokens : {2, 3, 4, 5, 6, 7, 13, 33, 80, 193, 300}) {
        CpuBackend backend(threads, GetParam());
        WorkLimits wide = limits();
        wide.tokens = tokens;
        backend.reserve(wide);
        const auto out = product(backend, weight, {x.begin(), x.begin() + tokens * cols}, tokens);
        ASSERT_EQ(std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)), 0)
            << format << ", " << tokens << " tokens, " << threads << " threads";
      }
  }
}

TEST_P(CpuLinear, ManyColumnsAreSummedInOneOrderToo) {
  const std::int64_t rows = 56, cols = 1104, tokens = 31;
  WorkLimits wide = limits();
  wide.features = cols;
  CpuBackend backend(2, GetParam());
  backend.reserve(wide);
  for (const std::string format : kFormats) {
    const LinearWeight weight = random_weight(format, rows, cols, 3);
    const auto x = random_floats(tokens * cols, 4);
    const auto together = product(backend, weight, x, tokens);
    expect_close(weight, x, tokens, together);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const auto alone = product(backend, weight, {x.begin() + t * cols, x.begin() + (t + 1) * cols}, 1);
      ASSERT_EQ(std::memcmp(alone.data(), &together[std::size_t(t * rows)], alone.size() * sizeof(float)), 0)
          << format << ", token " << t;
    }
  }
}

TEST_P(CpuLinear, EmbeddingIsTheDecodedRow) {
  CpuBackend backend(2, GetParam());
  backend.reserve(limits());
  for (const std::string format : kFormats) {
    const LinearWeight weight = random_weight(format, 37, 48, 9);
    const auto table = backend.load_linear({&weight, 1});
    const std::vector<TokenId> tokens = {36, 0, 17, 5};
    const SequenceRows sequence{0, 4, 0, 0, {}};
    const Batch batch{tokens, {&sequence, 1}, {}};
    std::vector<float> out(4 * 48), row(48);
    backend.embed(backend.stage(batch), *table, view(out, 4));
    for (std::size_t t = 0; t < 4; ++t) {
      decode_row(weight, tokens[t], row);
      EXPECT_EQ(std::memcmp(row.data(), &out[t * 48], 48 * sizeof(float)), 0) << format;
    }
  }
}

TEST_P(CpuLinear, NanCodesMakeTheirRowsNan) {
  CpuBackend backend(1, GetParam());
  backend.reserve(limits());
  auto codes = random_e4m3(20 * 32, 3, false);
  codes[17 * 32 + 5] = 0xff;
  const LinearWeight weight = Fp8Weight{{stored(codes), DType::f8_e4m3, 20, 32}, 1};
  const auto out = product(backend, weight, random_floats(32, 1), 1);
  for (std::size_t o = 0; o < 20; ++o) EXPECT_EQ(std::isnan(out[o]), o == 17) << o;
}

TEST(CpuPacking, TakesLittleMoreThanTheFile) {
  CpuBackend backend(1);
  const LinearWeight weights[] = {random_weight("nvfp4", 160, 512, 1), random_weight("fp8", 160, 512, 1),
                                  random_weight("bf16", 160, 512, 1), random_weight("f32", 160, 512, 1)};
  for (const LinearWeight& w : weights) {
    EXPECT_LE(double(backend.packed_bytes({&w, 1})), 1.05 * double(stored_bytes(w)));
    EXPECT_EQ(backend.load_linear({&w, 1})->packed_bytes, backend.packed_bytes({&w, 1}));
  }
  EXPECT_EQ(backend.load_linear(weights)->format, "mixed");
}

}  // namespace
}  // namespace strata
