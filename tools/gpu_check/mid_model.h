// A model of random weights for tests: all kinds of layers in real shapes, small enough for seconds.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "backend/registry/make_backend.h"
#include "base/json.h"
#include "model/registry.h"
#include "tools/gpu_check/device_weights.h"

namespace strata::gpu_check {

/// Always the same weights.
inline std::unique_ptr<Model> mid_model(CudaBackend& backend) {
  DeviceWeights weights(backend);
  return bind_model(read_json("bench/configs/mid-nvfp4/config.json"), "mid", weights);
}

/// Skips, saying why, where there is no usable GPU.
class MidTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string why = why_no_cuda();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

}  // namespace strata::gpu_check
