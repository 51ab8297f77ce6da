// The law, on every backend, instruction set, weight format and block kind: 0 differing bits.
#include "validation/law.h"

#include "backend/registry/make_backend.h"
#include "base/error.h"
#include "model/registry.h"
#include "tests/checkpoints.h"

namespace strata {
namespace {

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
  for (const std::string& folder : tiny_checkpoints()) {
    for (const std::string& isa : cpu_isas()) all.push_back({folder, "cpu", isa, DType::bf16, 200});
    all.push_back({folder, "cpu", "", DType::f8_e4m3, 200});
    all.push_back({folder, "reference", "", DType::bf16, 70});
  }
  all.push_back({"models/demo", "cpu", "", DType::bf16, 200});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Law, testing::ValuesIn(cases()), [](const auto& test) {
  const Case& c = test.param;
  return test_name(name_of_folder(c.folder) + "_" + c.backend + c.isa + "_kv_" + std::string(name_of(c.kv)));
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

INSTANTIATE_TEST_SUITE_P(Checkpoints, Threads, testing::ValuesIn(all_checkpoints()), name_of_checkpoint_test);

}  // namespace
}  // namespace strata
