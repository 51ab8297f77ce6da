#include "validation/synthetic_tensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "backend/sampling.h"
#include "base/error.h"
#include "model/registry.h"

namespace strata {
namespace {

constexpr double kWeightStd = 0.02, kNormSpread = 0.05, kLogitStd = 2, kBiasStd = 0.02;

/// Blocks of the model, by the numbers in the names.
std::int64_t layers_in(const std::vector<WeightRequest>& requests) {
  constexpr std::string_view kPrefix = "backbone.layers.";
  std::int64_t layers = 1;
  for (const WeightRequest& r : requests) {
    if (!r.name.starts_with(kPrefix)) continue;
    std::int64_t layer = 0;
    std::from_chars(r.name.data() + kPrefix.size(), r.name.data() + r.name.size(), layer);
    layers = std::max(layers, layer + 1);
  }
  return layers;
}

class Writer {
 public:
  Writer(const std::optional<QuantConfig>& quantization, std::string_view what, std::uint64_t seed, std::int64_t layers)
      : quantization_(quantization), what_(what), seed_(seed), layers_(layers) {}

  void write(const WeightRequest& r) {
    switch (r.kind) {
      case WeightRequest::Kind::linear:
        return linear(r.name, r.rows, r.cols);
      case WeightRequest::Kind::experts:
        for (std::int64_t e = 0; e < r.n; ++e)
          linear(r.name + "." + std::to_string(e) + "." + r.projection, r.rows, r.cols);
        return;
      case WeightRequest::Kind::vector:
        return vector(r.name, r.rows);
      case WeightRequest::Kind::table:
        return table(r.name, r.rows, r.cols);
      case WeightRequest::Kind::scalar:  // need not be there
        return;
    }
  }

  std::vector<SyntheticTensor> take() { return std::move(tensors_); }

 private:
  using Shape = std::vector<std::int64_t>;

  void add(const std::string& name, StoredType type, Shape shape, std::shared_ptr<const ElementTable> elements) {
    tensors_.push_back({{name, type, std::move(shape)}, std::move(elements)});
  }
  void gaussian(const std::string& name, StoredType type, Shape shape, double mean, double std) {
    auto& table = gaussians_[{type, mean, std}];
    if (!table) table = std::make_shared<const ElementTable>(gaussian_elements(type, mean, std));
    add(name, type, std::move(shape), table);
  }
  void scalar(const std::string& name, double value) {
    add(name, StoredType::F32, {}, std::make_shared<const ElementTable>(constant_element(StoredType::F32, value)));
  }

  double std_of(std::string_view name, std::int64_t in) const {
    if (name == "lm_head") return kLogitStd / std::sqrt(static_cast<double>(in));
    const bool to_residual = name.ends_with("out_proj") || name.ends_with("o_proj") || name.ends_with("down_proj");
    return to_residual ? kWeightStd / std::sqrt(2.0 * static_cast<double>(layers_)) : kWeightStd;
  }
  /// Scales of equal size would hide that one expert's is used for another.
  double jitter(const std::string& name) const { return 0.9 + 0.2 * uniform(seed_ ^ hash_of_name(name), 0); }

  void linear(const std::string& name, std::int64_t out, std::int64_t in) {
    const QuantAlgorithm algorithm = quantization_ ? quantization_->declared(name) : QuantAlgorithm::none;
    const double std = std_of(name, in);
    switch (algorithm) {
      case QuantAlgorithm::none:
        return gaussian(name + ".weight", StoredType::BF16, {out, in}, 0, std);
      case QuantAlgorithm::fp8:
        add(name + ".weight", StoredType::F8_E4M3, {out, in}, fp8_);
        scalar(name + ".weight_scale", std / fp8_unit_std_ * jitter(name));
        return scalar(name + ".input_scale", 10.0 / 448 * jitter(name));
      case QuantAlgorithm::nvfp4:
      case QuantAlgorithm::w4a16_nvfp4:
        if (in % kNvfp4Block != 0) {
          throw Error(ErrorCode::bad_model, std::string(what_) + ": " + name + " is declared " +
                                                std::string(name_of(algorithm)) + ", but its " + std::to_string(in) +
                                                " columns can't be split into blocks of 16; leave it out of the "
                                                "declaration or change the width");
        }
        add(name + ".weight", StoredType::U8, {out, in / 2}, nvfp4_codes_);
        add(name + ".weight_scale", StoredType::F8_E4M3, {out, in / kNvfp4Block}, nvfp4_scales_);
        scalar(name + ".weight_scale_2", std / nvfp4_unit_std_ * jitter(name));
        if (algorithm == QuantAlgorithm::nvfp4) scalar(name + ".input_scale", 10.0 / (6 * 448) * jitter(name));
        return;
    }
  }

  void vector(const std::string& name, std::int64_t size) {
    const Shape shape{size};
    if (name.ends_with(".A_log")) return add(name, StoredType::BF16, shape, A_log_);
    if (name.ends_with(".dt_bias")) return add(name, StoredType::BF16, shape, dt_bias_);
    if (name.ends_with(".D")) return add(name, StoredType::BF16, shape, one_);
    if (name.ends_with(".e_score_correction_bias")) return gaussian(name, StoredType::F32, shape, 0, kBiasStd);
    if (name.ends_with(".bias")) return gaussian(name, StoredType::BF16, shape, 0, kBiasStd);
    gaussian(name, StoredType::BF16, shape, 1, kNormSpread);
  }

  void table(const std::string& name, std::int64_t rows, std::int64_t cols) {
    const auto in = static_cast<double>(cols);
    if (name.ends_with(".conv1d.weight"))
      return gaussian(name, StoredType::BF16, {rows, 1, cols}, 0, 1 / std::sqrt(3 * in));
    gaussian(name, StoredType::F32, {rows, cols}, 0, 1 / std::sqrt(in));  // a router, with logits of about N(0, 1)
  }

  static std::shared_ptr<const ElementTable> shared(ElementTable table) {
    return std::make_shared<const ElementTable>(std::move(table));
  }

  const std::optional<QuantConfig>& quantization_;
  std::string_view what_;
  std::uint64_t seed_;
  std::int64_t layers_;
  std::map<std::tuple<StoredType, double, double>, std::shared_ptr<const ElementTable>> gaussians_;
  const std::shared_ptr<const ElementTable> fp8_ = shared(fp8_elements()), nvfp4_codes_ = shared(nvfp4_code_elements()),
                                            nvfp4_scales_ = shared(nvfp4_scale_elements()),
                                            A_log_ = shared(A_log_elements()), dt_bias_ = shared(dt_bias_elements()),
                                            one_ = shared(constant_element(StoredType::BF16, 1));
  const double fp8_unit_std_ = fp8_unit_std(), nvfp4_unit_std_ = nvfp4_unit_std();
  std::vector<SyntheticTensor> tensors_;
};

}  // namespace

std::int64_t SyntheticTensor::bytes() const {
  std::int64_t bytes = size_of(tensor.type);
  for (const std::int64_t n : tensor.shape) bytes *= n;
  return bytes;
}

std::vector<SyntheticTensor> synthetic_tensors(const Json& config, const std::optional<QuantConfig>& quantization,
                                               std::string_view what, std::uint64_t seed) {
  WeightList list;
  bind_model(config, what, list);
  Writer writer(quantization, what, seed, layers_in(list.requests()));
  for (const WeightRequest& request : list.requests()) writer.write(request);
  return writer.take();
}

}  // namespace strata
