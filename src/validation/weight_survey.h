// Looks at every tensor that a model is made of, and goes on after a problem.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/checkpoint_weights.h"
#include "model/weight_source.h"

namespace strata {

/// A source that binds a model to shapes, and notes for every request what the checkpoint has for it. Reads scales and
/// the small unquantised tensors, no linear layer's weight.
class WeightSurvey : public WeightList {
 public:
  /// Both must outlive it.
  WeightSurvey(const Checkpoint& checkpoint, CheckpointWeights& weights);

  std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) override;
  std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                  std::int64_t out, std::int64_t in) override;
  Vector vector(const std::string& name, std::int64_t size) override;
  Table table(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::optional<float> scalar(const std::string& name) override;

  struct Found {
    WeightRequest request;
    std::vector<LinearWeight> weights;    // of a linear layer or a bank; those without a problem
    const TensorEntry* tensor = nullptr;  // of a vector, table or scalar, if it is there
  };
  /// In the order of the binding.
  const std::vector<Found>& found() const { return found_; }
  /// A sentence each.
  const std::vector<std::string>& problems() const { return problems_; }
  /// Tensors of no use to the model, those left out that belong to a weight with a problem. `mtp` are tensors of
  /// multi-token prediction, which Strata doesn't run.
  struct Rest {
    std::vector<const TensorEntry*> useless, mtp;
  };
  Rest rest() const;

 private:
  template <class F>
  void note(const std::string& name, F&& look);
  const TensorEntry* find(const std::string& name) const;

  const Checkpoint& checkpoint_;
  CheckpointWeights& weights_;
  std::map<std::string, const TensorEntry*, std::less<>> entries_;  // by canonical name
  std::vector<Found> found_;
  std::vector<std::string> problems_;
  std::set<std::string, std::less<>> broken_;  // names of weights with a problem
};

}  // namespace strata
