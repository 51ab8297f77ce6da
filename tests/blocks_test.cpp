// The cpu backend against the reference with the same rounding points, block by block: each block of the reference is
// fed the cpu backend's own residual, so that a difference stays in the block that made it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backend/reference/reference_backend.h"
#include "backend/registry/make_backend.h"
#include "model/nemotron_h_config.h"
#include "model/registry.h"
#include "validation/reference_file.h"

namespace strata {
namespace {

const std::filesystem::path kSource = STRATA_SOURCE_DIR;
constexpr double kBound = 2e-3;

/// What one run saw: the residual before each block (the last entry: after the last), and each router's choice.
struct Recorded : Probe {
  std::vector<std::vector<float>> residuals;
  std::vector<std::vector<std::int32_t>> chosen;  // by MoE block
  std::vector<std::vector<float>> router_logits;
  void residual(std::size_t, Matrix x) override {
    residuals.emplace_back(x.row<float>(0), x.row<float>(0) + x.rows * x.cols);
  }
  void routing(ConstMatrix logits, const Routing& r) override {
    chosen.emplace_back(r.ids.row<std::int32_t>(0), r.ids.row<std::int32_t>(0) + r.ids.rows * r.ids.cols);
    router_logits.emplace_back(logits.row<float>(0), logits.row<float>(0) + logits.rows * logits.cols);
  }
};

/// Records what a block made of `fed`'s residual, then puts that residual in for the next block.
struct Fed : Recorded {
  explicit Fed(const Recorded& source) : fed(source) {}
  void residual(std::size_t block, Matrix x) override {
    Recorded::residual(block, x);
    const std::vector<float>& own = fed.residuals[block];
    std::copy(own.begin(), own.end(), x.row<float>(0));
  }
  const Recorded& fed;
};

std::vector<TokenId> random_tokens(std::int64_t count, std::int64_t vocab) {
  std::mt19937 random(5);
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  for (TokenId& t : tokens) t = static_cast<TokenId>(random() % static_cast<std::uint64_t>(vocab));
  return tokens;
}

void run(const Checkpoint& checkpoint, Backend& backend, Probe& probe, DType kv) {
  const auto model = load_model(checkpoint, backend);
  ModelRunner runner(*model, backend, {.tokens = 200, .sequences = 1, .context = 200, .kv_type = kv});
  SequenceState state = runner.fresh();
  runner.feed(state, random_tokens(200, model->vocab_size()), 200, &probe);
}

class Blocks : public testing::TestWithParam<std::tuple<std::string, DType>> {};

TEST_P(Blocks, EachBlockIsTheReferencesToTwoThousandths) {
  const auto& [folder, kv] = GetParam();
  const Checkpoint checkpoint = Checkpoint::open(kSource / folder);
  const auto cpu = make_backend({});
  ReferenceBackend reference(Rounding::strata);
  Recorded own;
  run(checkpoint, *cpu, own, kv);
  Fed held(own);
  run(checkpoint, reference, held, kv);

  const NemotronHConfig config = NemotronHConfig::parse(checkpoint.config(), folder);
  const auto hidden = static_cast<std::size_t>(config.hidden_size);
  std::size_t moe = 0, ties = 0;
  double worst = 0;
  ASSERT_EQ(own.residuals[0], held.residuals[0]) << "embeddings are exact";
  for (std::size_t b = 0; b < config.blocks.size(); ++b) {
    const bool routed = config.blocks[b].kind == BlockKind::moe;
    const std::size_t k = routed ? static_cast<std::size_t>(config.blocks[b].moe.num_experts_per_tok) : 0;
    double difference = 0, norm = 0;
    for (std::size_t t = 0; t < 200; ++t) {
      if (routed && !std::equal(own.chosen[moe].begin() + t * k, own.chosen[moe].begin() + (t + 1) * k,
                                held.chosen[moe].begin() + t * k)) {
        ++ties;  // a near tie went the other way
        continue;
      }
      for (std::size_t i = t * hidden; i < (t + 1) * hidden; ++i) {
        // What the block added.
        const double x = double{own.residuals[b + 1][i]} - own.residuals[b][i];
        const double y = double{held.residuals[b + 1][i]} - own.residuals[b][i];
        difference += (x - y) * (x - y);
        norm += y * y;
      }
    }
    moe += routed;
    const double rel = std::sqrt(difference / norm);
    worst = std::max(worst, rel);
    EXPECT_LE(rel, kBound) << "block " << b << " (" << name_of(config.blocks[b].kind) << ")";
  }
  std::printf("  %s: worst block %.1e, near ties %zu of %zu\n", folder.c_str(), worst, ties, 200 * moe);
  EXPECT_LE(ties, 200 * moe / 100 + 1);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Blocks,
                         testing::Combine(testing::Values("tests/fixtures/checkpoints/tiny-dense-bf16",
                                                          "tests/fixtures/checkpoints/tiny-nano-bf16",
                                                          "tests/fixtures/checkpoints/tiny-nano-fp8",
                                                          "tests/fixtures/checkpoints/tiny-nano-nvfp4",
                                                          "tests/fixtures/checkpoints/tiny-super-mixed", "models/demo"),
                                          testing::Values(DType::bf16, DType::f8_e4m3)),
                         [](const auto& test) {
                           std::string name = std::filesystem::path(std::get<0>(test.param)).filename().string() +
                                              "_kv_" + std::string(name_of(std::get<1>(test.param)));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace strata
