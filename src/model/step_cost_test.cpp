#include "model/step_cost.h"

#include <gtest/gtest.h>

#include "model/model_test_support.h"

namespace strata {
namespace {

/// The weights of Nemotron-3-Nano as its NVFP4 release stores them: experts, and the Mamba-2 layers that don't stand
/// before attention, in NVFP4; the router in float32; all else in bf16.
std::vector<WeightCost> nano_weights(const WeightList& list) {
  std::vector<WeightCost> weights;
  for (const WeightRequest& r : list.requests()) {
    const std::int64_t values = r.n * r.rows * r.cols;
    bool nvfp4 = r.kind == WeightRequest::Kind::experts || r.name.find("shared_experts") != std::string::npos;
    if (r.name.ends_with("in_proj") || r.name.ends_with("out_proj")) {
      nvfp4 = true;
      for (const char* layer : {".4.", ".11.", ".18.", ".25.", ".32.", ".41."})
        if (r.name.find(layer) != std::string::npos) nvfp4 = false;
    }
    const bool float32 = r.kind == WeightRequest::Kind::table || r.kind == WeightRequest::Kind::vector;
    weights.push_back({r, nvfp4 ? values * 9 / 16 : values * (float32 ? 4 : 2)});
  }
  return weights;
}

class NanoCost : public testing::Test {
 protected:
  NanoCost() : checkpoint_(nano_config()), model_(bind_model(checkpoint_.open(), list_)) {
    weights_ = nano_weights(list_);
    layout_ = {model_->state_shape(), {DType::bf16, DType::f8_e4m3}};
  }
  StepCost cost(const StepShape& shape) const { return cost_of(weights_, *model_, layout_, shape); }

  TestCheckpoint checkpoint_;
  WeightList list_;
  std::unique_ptr<Model> model_;
  std::vector<WeightCost> weights_;
  StateLayout layout_;
};

// The design's tables of floors count the same by hand.
TEST_F(NanoCost, DecodeReadsThreeGigabytesATokenAlone) {
  EXPECT_NEAR(cost({1, 1, 1024, 1}).bytes, 2988e6, 10e6);
  EXPECT_NEAR(cost({1, 1, 131072, 1}).bytes, 3388e6, 12e6);
}

TEST_F(NanoCost, ExpertsAreReadOnceForAllWhoChooseThem) {
  const StepCost eight = cost({8, 1, 1024, 8}), sixty_four = cost({64, 1, 1024, 64});
  EXPECT_NEAR(eight.distinct_experts, 40.8, 0.1);
  EXPECT_NEAR(eight.bytes, 8196e6, 30e6);
  EXPECT_NEAR(sixty_four.distinct_experts, 122.1, 0.1);
  EXPECT_NEAR(sixty_four.bytes, 24385e6, 100e6);
}

TEST_F(NanoCost, PrefillComputesItsActiveParametersTwiceAToken) {
  // 5.749 GFLOP of linear layers, 60 MFLOP of the scan, 49,152 T of attention over T tokens.
  EXPECT_NEAR(cost({1, 512, 0, 0}).operations / 512, 5.749e9 + 0.060e9 + 0.025e9, 0.01e9);
}

TEST_F(NanoCost, TheOutputLayerCountsOnlyForRowsThatAreAskedFor) {
  const double head = 131072.0 * 2688;
  EXPECT_DOUBLE_EQ(cost({1, 512, 0, 1}).operations - cost({1, 512, 0, 0}).operations, 2 * head);
  EXPECT_DOUBLE_EQ(cost({1, 512, 0, 1}).bytes - cost({1, 512, 0, 0}).bytes, 2 * head);
}

}  // namespace
}  // namespace strata
