#include "model/weight_source.h"

namespace strata {
namespace {

std::unique_ptr<Linear> shape_of_linear(std::int64_t experts, std::int64_t out, std::int64_t in) {
  auto linear = std::make_unique<Linear>();
  linear->experts = experts;
  linear->out_features = out;
  linear->in_features = in;
  return linear;
}

}  // namespace

std::unique_ptr<Linear> WeightList::linear(const std::string& name, std::int64_t out, std::int64_t in) {
  requests_.push_back({WeightRequest::Kind::linear, name, "", 1, out, in});
  return shape_of_linear(1, out, in);
}

std::unique_ptr<Linear> WeightList::experts(const std::string& container, const std::string& projection, std::int64_t n,
                                            std::int64_t out, std::int64_t in) {
  requests_.push_back({WeightRequest::Kind::experts, container, projection, n, out, in});
  return shape_of_linear(n, out, in);
}

Vector WeightList::vector(const std::string& name, std::int64_t size) {
  requests_.push_back({WeightRequest::Kind::vector, name, "", 1, size, 1});
  return {nullptr, size};
}

Table WeightList::table(const std::string& name, std::int64_t rows, std::int64_t cols) {
  requests_.push_back({WeightRequest::Kind::table, name, "", 1, rows, cols});
  return {nullptr, rows, cols};
}

std::optional<float> WeightList::scalar(const std::string& name) {
  requests_.push_back({WeightRequest::Kind::scalar, name, "", 1, 1, 1});
  return std::nullopt;
}

}  // namespace strata
