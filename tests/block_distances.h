// A backend against the reference with the same rounding points, block by block: each block of the reference is fed the
// backend's own residual, so that a difference stays in the block that made it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "backend/reference/reference_backend.h"
#include "model/nemotron_h_config.h"
#include "model/registry.h"
#include "tests/checkpoints.h"
#include "validation/model_runner.h"

namespace strata {

/// The largest relative L2 of what a block adds to the residual.
inline constexpr double kBlockBound = 2e-3;
inline constexpr std::int64_t kBlockTokens = 200;

/// What one run saw, step after step: the residual before each block (the last entry: after the last), and each
/// router's choice.
struct Recorded : Probe {
  explicit Recorded(Backend& b) : backend(b) {}
  std::vector<std::vector<float>> residuals;
  std::vector<std::vector<std::int32_t>> chosen;  // by MoE block

  void residual(std::size_t block, Matrix x) override { append(residuals, block, x); }
  void routing(ConstMatrix, const Routing& r) override {
    append(chosen, router, r.ids);
    ++router;
  }
  void final_norm(ConstMatrix) override { router = 0; }

  template <class T>
  void append(std::vector<std::vector<T>>& blocks, std::size_t block, const ConstMatrix& m) {
    if (blocks.size() <= block) blocks.resize(block + 1);
    for (std::int64_t r = 0; r < m.rows; ++r) {
      const std::size_t at = blocks[block].size();
      blocks[block].resize(at + static_cast<std::size_t>(m.cols));
      backend.download(m.data + r * m.stride * size_of(m.dtype),
                       std::as_writable_bytes(std::span(blocks[block]).subspan(at)));
    }
  }

  Backend& backend;
  std::size_t router = 0;
};

/// Records what a block of the reference made of `fed`'s residual, then puts that residual in for the next block.
struct Fed : Recorded {
  Fed(Backend& reference, const Recorded& source) : Recorded(reference), fed(source) {}
  void residual(std::size_t block, Matrix x) override {
    Recorded::residual(block, x);
    const std::vector<float>& own = fed.residuals[block];
    std::copy(own.begin(), own.end(), x.row<float>(0));
  }
  const Recorded& fed;
};

/// Random tokens, `chunk` a step.
inline void run_probed(const Checkpoint& checkpoint, Backend& backend, Probe& probe, DType kv, std::int64_t chunk) {
  const auto model = load_model(checkpoint, backend);
  ModelRunner runner(*model, backend, {.tokens = chunk, .sequences = 1, .context = kBlockTokens, .kv_type = kv});
  std::mt19937 random(5);
  std::vector<TokenId> tokens(kBlockTokens);
  for (TokenId& t : tokens) t = static_cast<TokenId>(random() % static_cast<std::uint64_t>(model->vocab_size()));
  SequenceState state = runner.fresh();
  runner.feed(state, tokens, chunk, &probe);
}

/// `chunk`: tokens a step of the backend; the reference takes all in one.
inline void expect_blocks_of_reference(const std::string& folder, Backend& backend, DType kv,
                                       std::int64_t chunk = kBlockTokens) {
  const Checkpoint checkpoint = Checkpoint::open(kSource / folder);
  ReferenceBackend reference(Rounding::strata);
  Recorded own(backend);
  run_probed(checkpoint, backend, own, kv, chunk);
  Fed held(reference, own);
  run_probed(checkpoint, reference, held, kv, kBlockTokens);

  const NemotronHConfig config = NemotronHConfig::parse(checkpoint.config(), folder);
  const auto hidden = static_cast<std::size_t>(config.hidden_size);
  std::size_t moe = 0, ties = 0;
  double worst = 0;
  ASSERT_EQ(own.residuals[0], held.residuals[0]) << "embeddings are exact";
  for (std::size_t b = 0; b < config.blocks.size(); ++b) {
    const bool routed = config.blocks[b].kind == BlockKind::moe;
    const std::size_t k = routed ? static_cast<std::size_t>(config.blocks[b].moe.num_experts_per_tok) : 0;
    double difference = 0, norm = 0;
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
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
    EXPECT_LE(rel, kBlockBound) << "block " << b << " (" << name_of(config.blocks[b].kind) << ")";
  }
  std::printf("  %s, %s keys, %ld a step: worst block %.1e, near ties %zu of %zu\n", folder.c_str(),
              std::string(name_of(kv)).c_str(), long(chunk), worst, ties, kBlockTokens * moe);
  EXPECT_LE(ties, kBlockTokens * moe / 100 + 1);
}

}  // namespace strata
