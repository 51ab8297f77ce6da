// Whole models on the CUDA backend: the fixtures' logits, the demo's answers, each block, the law, and what none of the
// backend's ways of launching may change. Skips, saying why, where there is no usable GPU.
#include <gtest/gtest.h>

#ifdef STRATA_CUDA
#include "backend/registry/make_backend.h"
#include "tests/block_distances.h"
#include "tests/demo_answers.h"
#include "tests/golden_bars.h"
#include "tests/single_steps.h"
#include "validation/law.h"

namespace strata {
namespace {

class CudaModel : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string why = why_no_cuda();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

constexpr bool kNumerics[] = {false, true};
const char* name_of_numerics(bool fast) { return fast ? "fast" : "exact"; }
CudaOptions with_numerics(bool fast) {
  CudaOptions options;
  options.fast = fast;
  return options;
}

TEST_P(CudaModel, IsCloseToTheReferenceAndRepeatable) {
  for (const bool fast : kNumerics) {
    CudaBackend backend(with_numerics(fast));
    const auto model = load_model(Checkpoint::open(kSource / GetParam()), backend);
    ModelRunner runner(*model, backend, {});
    SCOPED_TRACE(name_of_numerics(fast));
    if (GetParam() == "models/demo") {
      expect_demo_logits(runner);
    } else {
      const Distance first = compare_with_reference(runner, GetParam()).logits;
      expect_close_to_reference(GetParam() + ", cuda, " + name_of_numerics(fast), first);
      EXPECT_EQ(first.rel_l2, compare_with_reference(runner, GetParam()).logits.rel_l2);
    }
    const std::vector<TokenId> prompt = LawCase::make(runner, 200, 3).prompt;
    const auto whole = [&] {
      SequenceState state = runner.fresh();
      return runner.feed(state, prompt, 200);
    };
    EXPECT_TRUE(whole().same_bits(whole()));
  }
}

TEST_P(CudaModel, EachBlockIsTheReferencesToTwoThousandths) {
  for (const DType kv : {DType::bf16, DType::f8_e4m3}) {
    for (const bool fast : kNumerics) {
      CudaBackend backend(with_numerics(fast));
      SCOPED_TRACE(name_of_numerics(fast));
      expect_blocks_of_reference(GetParam(), backend, kv);
    }
  }
}

TEST_P(CudaModel, EachBlockOfSingleTokensIsTheReferencesToTwoThousandths) {
  CudaBackend backend;
  expect_blocks_of_reference(GetParam(), backend, DType::bf16, 1);
}

TEST_P(CudaModel, TheSameTokensGiveTheSameBits) {
  for (const DType kv : {DType::bf16, DType::f8_e4m3}) {
    CudaBackend backend;
    const auto model = load_model(Checkpoint::open(kSource / GetParam()), backend);
    ModelRunner runner(*model, backend, {.tokens = 256, .sequences = 4, .context = 260, .kv_type = kv});
    LawOptions options;
    options.prompt_length = 200;
    const LawReport report = check_law(runner, options);
    EXPECT_GT(report.checks, 40);
    EXPECT_TRUE(report.failures.empty()) << report.failures.size() << " of " << report.checks
                                         << " checks, such as: " << report.failures[0];
    std::printf("  %s, %s keys: %ld checks of the law, %zu failed\n", GetParam().c_str(),
                std::string(name_of(kv)).c_str(), long(report.checks), report.failures.size());
  }
}

TEST_P(CudaModel, GraphsFusionOverlapAndKernelsOfPromptsChangeNoBit) {
  const Checkpoint checkpoint = Checkpoint::open(kSource / GetParam());
  expect_launching_changes_no_bit(GetParam(), 150, [&](Backend& backend) { return load_model(checkpoint, backend); });
}

TEST(CudaDemo, AnswersAreTheReferences) {
  const std::string why = why_no_cuda();
  if (!why.empty()) GTEST_SKIP() << why;
  for (const bool fast : kNumerics) {
    SCOPED_TRACE(name_of_numerics(fast));
    CudaBackend backend(with_numerics(fast));
    const auto model = load_model(Checkpoint::open(kDemo), backend);
    ModelRunner runner(*model, backend, {});  // keys and values in bf16
    expect_demo_answers(runner);
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, CudaModel, testing::ValuesIn(all_checkpoints()), name_of_checkpoint_test);

}  // namespace
}  // namespace strata
#endif
