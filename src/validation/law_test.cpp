#include "validation/law.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "backend/registry/make_backend.h"
#include "model/registry.h"
#include "validation/test_checkpoint.h"

namespace strata {
namespace {

/// A model that does to its logits what no model may.
class LawBreaker : public Model {
 public:
  using Harm = std::function<void(const Step& step, Matrix logits)>;
  LawBreaker(const Model& model, Harm harm) : model_(model), harm_(std::move(harm)) {}
  void forward(const Step& step, Matrix logits) const override {
    model_.forward(step, logits);
    harm_(step, logits);
  }
  std::int64_t vocab_size() const override { return model_.vocab_size(); }
  std::int64_t max_context() const override { return model_.max_context(); }
  const StateShape& state_shape() const override { return model_.state_shape(); }
  std::int64_t workspace_bytes(std::int64_t tokens, std::int64_t rows) const override {
    return model_.workspace_bytes(tokens, rows);
  }
  WorkLimits work_limits() const override { return model_.work_limits(); }

 private:
  const Model& model_;
  Harm harm_;
};

class Law : public testing::Test {
 protected:
  LawReport report(const Model& model, std::int64_t sequences = 3) {
    ModelRunner runner(model, *backend_, {.tokens = 96, .sequences = sequences, .context = 200});
    return check_law(runner, {.prompt_length = 70, .repeats = 3, .random_splits = 2});
  }
  LawReport broken(LawBreaker::Harm harm) { return report(LawBreaker(*model_, std::move(harm))); }
  static bool mentions(const LawReport& report, const std::string& words) {
    for (const std::string& f : report.failures) {
      if (f.find(words) != std::string::npos) return true;
    }
    return false;
  }

  std::unique_ptr<Backend> backend_ = make_backend({.name = "cpu", .threads = 2});
  std::unique_ptr<Model> model_ = load_model(Checkpoint::open(kCheckpoints / "tiny-nano-nvfp4"), *backend_);
};

TEST_F(Law, HoldsOnAFixture) {
  for (const std::int64_t sequences : {2, 3, 5}) {
    const LawReport law = report(*model_, sequences);
    EXPECT_TRUE(law.failures.empty()) << (law.failures.empty() ? "" : law.failures[0]);
    EXPECT_GT(law.checks, 30);
  }
}

TEST_F(Law, ALogitThatDependsOnTheStepsLengthIsFound) {
  const LawReport law = broken([](const Step& step, Matrix logits) {
    if (std::ssize(step.batch.host.tokens) == 2) logits.row<float>(0)[3] += 1e-3f;
  });
  EXPECT_TRUE(mentions(law, "chunks of 2 + 2")) << law.failures.size();
  EXPECT_FALSE(mentions(law, "of the same steps"));
}

TEST_F(Law, ALogitThatDependsOnNeighboursIsFound) {
  const LawReport law = broken([](const Step& step, Matrix logits) {
    if (step.batch.host.sequences.size() > 1) logits.row<float>(logits.rows - 1)[0] += 1e-3f;
  });
  EXPECT_TRUE(mentions(law, "in a batch"));
  EXPECT_FALSE(mentions(law, "chunks of 2"));
}

TEST_F(Law, ALogitThatDependsOnTheSlotIsFound) {
  const LawReport law = broken([](const Step& step, Matrix logits) {
    if (step.batch.host.sequences[0].slot == 0) logits.row<float>(0)[0] += 1e-3f;
  });
  EXPECT_TRUE(mentions(law, "that another sequence has used"));
  EXPECT_TRUE(mentions(law, "fork"));
}

TEST_F(Law, RunsThatDifferAreFound) {
  int runs = 0;
  const LawReport law =
      broken([&](const Step&, Matrix logits) { logits.row<float>(0)[0] += static_cast<float>(++runs); });
  EXPECT_TRUE(mentions(law, "run 2 of the same steps"));
}

TEST_F(Law, LogitsThatAreNotFiniteAreFound) {
  const LawReport law = broken([](const Step&, Matrix logits) {
    for (std::int64_t r = 0; r < logits.rows; ++r) logits.row<float>(r)[5] = std::numeric_limits<float>::quiet_NaN();
  });
  ASSERT_EQ(law.failures.size(), 1u) << "the same bits everywhere";
  EXPECT_TRUE(mentions(law, "NaN"));
}

}  // namespace
}  // namespace strata
