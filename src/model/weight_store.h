// Loads a checkpoint's weights into a backend.
#pragma once

#include <functional>

#include "model/checkpoint_weights.h"
#include "model/weight_source.h"

namespace strata {

/// Hands each weight out once, in the asked shape, on the backend.
class WeightStore : public WeightSource {
 public:
  /// Called with the bytes of the checkpoint that have been loaded, as loading goes on.
  using Progress = std::function<void(std::int64_t bytes)>;

  /// Both must outlive it.
  WeightStore(CheckpointWeights& weights, Backend& backend, Progress progress = {})
      : weights_(weights), backend_(backend), progress_(std::move(progress)) {}

  std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) override;
  std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                  std::int64_t out, std::int64_t in) override;
  Vector vector(const std::string& name, std::int64_t size) override;
  Vector zeros(std::int64_t size) override {
    return {backend_.allocate(size * static_cast<std::int64_t>(sizeof(float))), size};
  }
  Table table(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::optional<float> scalar(const std::string& name) override { return weights_.scalar(name); }

 private:
  std::unique_ptr<Linear> load(std::span<const LinearWeight> weights);
  Buffer upload(const std::vector<float>& values);

  CheckpointWeights& weights_;
  Backend& backend_;
  Progress progress_;
  std::int64_t loaded_ = 0;
};

}  // namespace strata
