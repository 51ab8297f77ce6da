// The law, on every backend, instruction set, weight format and block kind: 0 differing bits.
#include "validation/law.h"

#include <gtest/gtest.h>

#include "backend/registry/make_backend.h"
#include "base/error.h"
#include "model/registry.h"

namespace strata {
namespace {

const std::filesystem::path kSource = STRATA_SOURCE_DIR;
const std::string kTiny = "tests/fixtures/checkpoints/";

std::string test_name(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return text;
}

/// A backend, or nothing if this machine can't run it.
std::unique_ptr<Backend> backend_or_skip(const std::string& name, int threads, const std::string& isa) {
  try {
    return make_backend({.name = name, .threads = threads, .isa = isa});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::no_device) throw;
    return nullptr;
  }
}

struct Case {
  std::string folder, backend, isa;
  DType kv;
  std::int64_t length;
};

class Law : public testing::TestWithParam<Case> {};

TEST_P(Law, TheSameTokensGiveTheSameBits) {
  const Case& c = GetParam();
  const auto backend = backend_or_skip(c.backend, 2, c.isa);
  if (!backend) GTEST_SKIP() << c.isa << " kernels (this CPU has none)";
  const auto model = load_model(Checkpoint::open(kSource / c.folder), *backend);
  ModelRunner runner(*model, *backend, {.tokens = 256, .sequences = 4, .context = 260, .kv_type = c.kv});
  LawOptions options;
  options.prompt_length = c.length;
  if (c.backend == "reference") options.repeats = 2;  // it has no threads
  const LawReport report = check_law(runner, options);
  EXPECT_GT(report.checks, 40);
  EXPECT_TRUE(report.failures.empty()) << report.failures.size() << " of " << report.checks
                                       << " checks, such as: " << report.failures[0];
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const std::vector<std::string> folders{kTiny + "tiny-dense-bf16", kTiny + "tiny-nano-bf16", kTiny + "tiny-nano-fp8",
                                         kTiny + "tiny-nano-nvfp4", kTiny + "tiny-super-mixed"};
  for (const std::string& folder : folders) {
    for (const std::string& isa : cpu_isas()) all.push_back({folder, "cpu", isa, DType::bf16, 200});
    all.push_back({folder, "cpu", "", DType::f8_e4m3, 200});
    all.push_back({folder, "reference", "", DType::bf16, 70});
  }
  all.push_back({"models/demo", "cpu", "", DType::bf16, 200});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Law, testing::ValuesIn(cases()), [](const auto& test) {
  const Case& c = test.param;
  return test_name(std::filesystem::path(c.folder).filename().string() + "_" + c.backend + c.isa + "_kv_" +
                   std::string(name_of(c.kv)));
});

class Threads : public testing::TestWithParam<std::string> {};

TEST_P(Threads, DontChangeLogits) {
  std::vector<TokenId> prompt;
  for (int t = 0; t < 150; ++t) prompt.push_back((t * 7919 + 3) % 512);
  Logits alone;
  for (int threads : {1, 2, 3}) {
    const auto backend = make_backend({.name = "cpu", .threads = threads});
    const auto model = load_model(Checkpoint::open(kSource / GetParam()), *backend);
    ModelRunner runner(*model, *backend, {});
    SequenceState state = runner.fresh();
    Logits logits = runner.feed(state, prompt, 67);
    logits.append(runner.feed(state, std::span(prompt).first(5), 1));
    if (threads == 1) {
      alone = std::move(logits);
    } else {
      EXPECT_TRUE(logits.same_bits(alone)) << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Threads,
                         testing::Values(kTiny + "tiny-dense-bf16", kTiny + "tiny-nano-bf16", kTiny + "tiny-nano-fp8",
                                         kTiny + "tiny-nano-nvfp4", kTiny + "tiny-super-mixed", "models/demo"),
                         [](const auto& test) {
                           return test_name(std::filesystem::path(test.param).filename().string());
                         });

}  // namespace
}  // namespace strata
