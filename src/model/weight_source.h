// Where an architecture's binding takes its weights from: a checkpoint, or a list that only notes what was asked for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace strata {

/// Names are canonical: "backbone.layers.7.mixer.in_proj" for a linear layer (its weight and scales are found from
/// there), "backbone.norm_f.weight" for a tensor.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The linear layer `name`, [out, in], in any format.
  virtual std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) = 0;
  /// The bank `container`.0.`projection` … `container`.(n-1).`projection`, or one fused tensor [n, out, in].
  virtual std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                          std::int64_t out, std::int64_t in) = 0;
  /// An unquantised tensor of `size` elements, as f32.
  virtual Vector vector(const std::string& name, std::int64_t size) = 0;
  /// What stands for a vector that the model doesn't have and that adds nothing.
  virtual Vector zeros(std::int64_t size) { return {nullptr, size}; }
  /// An unquantised tensor of rows * cols elements ([rows, cols] or [rows, 1, cols]), as f32.
  virtual Table table(const std::string& name, std::int64_t rows, std::int64_t cols) = 0;
  /// A scalar that need not be there.
  virtual std::optional<float> scalar(const std::string& name) = 0;
};

/// What a binding asked for.
struct WeightRequest {
  enum class Kind { linear, experts, vector, table, scalar };
  Kind kind = Kind::linear;
  std::string name;                        // of experts: the container
  std::string projection;                  // of experts
  std::int64_t n = 1, rows = 0, cols = 1;  // of a vector: rows
};

/// A source without weights that notes what it was asked for: what it makes has shapes and no data, so a model bound
/// to it answers for its sizes but can't run. `inspect`, `plan`, `validate` and `synth` read the list.
class WeightList : public WeightSource {
 public:
  std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) override;
  std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                  std::int64_t out, std::int64_t in) override;
  Vector vector(const std::string& name, std::int64_t size) override;
  Table table(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::optional<float> scalar(const std::string& name) override;

  const std::vector<WeightRequest>& requests() const { return requests_; }

 private:
  std::vector<WeightRequest> requests_;
};

}  // namespace strata
