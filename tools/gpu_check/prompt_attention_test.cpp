// Attention of prompts, op by op: steps in which sequences read prompts of odd lengths while others decode, with keys
// that end before, at and behind the borders of a page, of a unit of 128 keys and of a block of 1,024.
#include <cmath>

#include "backend/conformance/conformance_sequences.h"
#include "backend/cuda/cuda_backend.h"

namespace strata::gpu_check {
namespace {

using conformance::chunks_together;
using conformance::expect_same_bits;
using conformance::kPage;
using conformance::Placed;
using conformance::Places;
using conformance::random_streams;
using conformance::StepRows;
using conformance::Steps;
using conformance::Streams;

struct PromptHeads {
  std::int64_t heads, kv_heads;
  DType dtype;
};
std::string describe(const PromptHeads& c) {
  return std::to_string(c.heads) + " heads on " + std::to_string(c.kv_heads) + ", " +
         std::string(strata::name_of(c.dtype));
}

constexpr std::int64_t kPromptDim = 128;
const std::vector<std::int64_t> kPromptLengths = {700, 1163, 12, 66, 1290, 142};
/// All of more than 64 rows.
const Steps kMixedSteps = {{{0, 301}, {1, 197}},
                           {{0, 1}, {1, 150}, {2, 3}, {3, 65}},
                           {{1, 101}, {2, 1}, {0, 1}, {4, 333}, {5, 7}},
                           {{4, 301}, {5, 8}, {3, 1}, {0, 9}},
                           {{1, 575}, {5, 64}, {4, 6}},
                           {{5, 63}, {4, 384}, {1, 1}, {2, 8}},
                           {{1, 139}, {0, 388}, {4, 129}},
                           {{4, 137}}};

/// Every sequence's outputs; `k_scale` and `v_scale` as a checkpoint may have them.
Streams attended(const CudaOptions& options, const PromptHeads& c, const Steps& steps) {
  CudaBackend backend(options);
  WorkLimits work;
  work.tokens = 1024, work.logit_rows = 1, work.sequences = work.slots = std::ssize(kPromptLengths),
  work.context = 1344;
  work.features = c.heads * kPromptDim;
  backend.reserve(work);
  const Streams q = random_streams(kPromptLengths, c.heads * kPromptDim, 1),
                k = random_streams(kPromptLengths, c.kv_heads * kPromptDim, 2),
                v = random_streams(kPromptLengths, c.kv_heads * kPromptDim, 3);
  Places places;
  std::int32_t pages = 0;
  for (const std::int64_t length : kPromptLengths) pages += static_cast<std::int32_t>((length + kPage - 1) / kPage);
  std::int32_t page = 0;
  for (std::size_t s = 0; s < kPromptLengths.size(); ++s) {
    places.slots.push_back(static_cast<std::int32_t>(s));
    places.pages.emplace_back();
    for (std::int64_t at = 0; at < kPromptLengths[s]; at += kPage) places.pages[s].push_back(page++ * 17 % pages);
  }
  CHECK(pages % 17 != 0, "a page for each");
  const std::int64_t bytes = pages * 2 * c.kv_heads * kPromptDim * kPage * size_of(c.dtype);
  const std::vector<std::byte> nan(static_cast<std::size_t>(bytes), std::byte{0xff});
  KvPages cache{conformance::upload(backend, nan), c.dtype, kPage, c.kv_heads, kPromptDim, 0.0123f, 0.5f};
  Streams all = conformance::unset_streams(kPromptLengths, c.heads * kPromptDim);
  conformance::run_steps(backend, steps, places, [&](const StagedBatch& batch, const StepRows& step) {
    const Placed keys = conformance::place(backend, step.take(k)), values = conformance::place(backend, step.take(v)),
                 queries = conformance::place(backend, step.take(q)),
                 out = conformance::place_output(backend, std::ssize(step.rows), q[0].cols);
    backend.append_kv(batch, keys, values, cache);
    backend.attention(batch, queries, cache, 1 / std::sqrt(float(kPromptDim)), out);
    step.give(conformance::fetch(backend, out), all);
  });
  return all;
}

class PromptAttention : public testing::TestWithParam<PromptHeads> {
 protected:
  void SetUp() override {
    const std::string why = why_no_cuda();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(PromptAttention, IsThatOfSingleTokensInStepsOfPromptsAndDecodingSequences) {
  const Streams plain = attended({.prompts = false}, GetParam(), kMixedSteps),
                exact = attended({}, GetParam(), kMixedSteps), fast = attended({.fast = true}, GetParam(), kMixedSteps);
  double difference = 0, size = 0;
  for (std::size_t s = 0; s < plain.size(); ++s) {
    SCOPED_TRACE("sequence " + std::to_string(s));
    expect_same_bits(exact[s], plain[s]);
    for (std::size_t i = 0; i < plain[s].values.size(); ++i) {
      const double expected = plain[s].values[i], d = fast[s].values[i] - expected;
      difference += d * d, size += expected * expected;
    }
  }
  const double distance = std::sqrt(difference / size);
  EXPECT_LE(distance, 2e-3) << "fast numerics";
  std::printf("  %s: the same bits in exact numerics, rel L2 %.1e in fast\n", describe(GetParam()).c_str(), distance);
}

/// Cut otherwise, a token has the same bits.
TEST_P(PromptAttention, DoesNotDependOnWhereAPromptIsCut) {
  const Streams together = attended({}, GetParam(), kMixedSteps),
                apart = attended({}, GetParam(), chunks_together(kPromptLengths, 171));
  for (std::size_t s = 0; s < together.size(); ++s) {
    SCOPED_TRACE("sequence " + std::to_string(s));
    expect_same_bits(apart[s], together[s]);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PromptAttention,
                         testing::Values(PromptHeads{32, 2, DType::f8_e4m3}, PromptHeads{32, 2, DType::bf16},
                                         PromptHeads{16, 2, DType::f8_e4m3}, PromptHeads{20, 1, DType::bf16}),
                         [](const auto& test) {
                           const PromptHeads& c = test.param;
                           return std::to_string(c.heads) + "_heads_" +
                                  std::string(c.dtype == DType::bf16 ? "bf16" : "fp8");
                         });

}  // namespace
}  // namespace strata::gpu_check
