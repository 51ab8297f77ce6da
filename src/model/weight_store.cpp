#include "model/weight_store.h"

namespace strata {

std::unique_ptr<Linear> WeightStore::load(std::span<const LinearWeight> weights) {
  auto linear = backend_.load_linear(weights);
  for (const LinearWeight& w : weights) loaded_ += stored_bytes(w);
  if (progress_) progress_(loaded_);
  return linear;
}

std::unique_ptr<Linear> WeightStore::linear(const std::string& name, std::int64_t out, std::int64_t in) {
  const LinearWeight weight = weights_.linear(name, out, in);
  return load({&weight, 1});
}

std::unique_ptr<Linear> WeightStore::experts(const std::string& container, const std::string& projection,
                                             std::int64_t n, std::int64_t out, std::int64_t in) {
  return load(weights_.experts(container, projection, n, out, in));
}

Buffer WeightStore::upload(const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  Buffer buffer = backend_.allocate(static_cast<std::int64_t>(bytes.size()));
  backend_.upload(bytes, buffer.get());
  return buffer;
}

Vector WeightStore::vector(const std::string& name, std::int64_t size) {
  return {upload(weights_.floats(name, {size})), size};
}

Table WeightStore::table(const std::string& name, std::int64_t rows, std::int64_t cols) {
  return {upload(weights_.floats(name, {rows, cols})), rows, cols};
}

}  // namespace strata
