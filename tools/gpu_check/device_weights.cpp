#include "tools/gpu_check/device_weights.h"

#include <cmath>
#include <random>

namespace strata::gpu_check {
namespace {

/// The release keeps in bf16: embeddings and head, attention, and the Mamba-2 layer before each attention layer.
bool is_bf16(const std::string& name) {
  if (name == "backbone.embeddings" || name == "lm_head") return true;
  for (const char* projection : {"q_proj", "k_proj", "v_proj", "o_proj"})
    if (name.ends_with(projection)) return true;
  for (const char* layer : {".4.", ".11.", ".18.", ".25.", ".32.", ".41."})
    if (name.find("layers" + std::string(layer) + "mixer.in_proj") != std::string::npos ||
        name.find("layers" + std::string(layer) + "mixer.out_proj") != std::string::npos)
      return true;
  return false;
}

}  // namespace

std::unique_ptr<Linear> DeviceWeights::make(const std::string& name, std::int64_t n, std::int64_t out,
                                            std::int64_t in) {
  const cuda::Format format = is_bf16(name) ? cuda::Format::bf16 : cuda::Format::nvfp4;
  const float deviation = 0.7f / std::sqrt(static_cast<float>(in));
  // Codes have a deviation of about 2.9, scales a root mean square of about 2; a tile gives 2^-7 of its weights.
  const std::vector<float> scales(static_cast<std::size_t>(n),
                                  format == cuda::Format::nvfp4 ? deviation * 128.0f / 5.8f : 1.0f);
  auto linear = backend_.empty_linear(out, in, format, scales);
  fill_tiles(backend_.launch(), linear->memory.get(), linear->packed_bytes - (n * 24 + 255) / 256 * 256, format,
             name == "lm_head" ? 3 * deviation : 1.7f * deviation, seed_++);
  bytes_ += linear->packed_bytes;
  return linear;
}

std::unique_ptr<Linear> DeviceWeights::linear(const std::string& name, std::int64_t out, std::int64_t in) {
  return make(name, 1, out, in);
}

std::unique_ptr<Linear> DeviceWeights::experts(const std::string& container, const std::string& projection,
                                               std::int64_t n, std::int64_t out, std::int64_t in) {
  return make(container + "." + projection, n, out, in);
}

Buffer DeviceWeights::upload(const std::vector<float>& values) {
  Buffer buffer = backend_.allocate(std::ssize(values) * 4);
  backend_.upload(std::as_bytes(std::span(values)), buffer.get());
  return buffer;
}

Vector DeviceWeights::vector(const std::string& name, std::int64_t size) {
  std::mt19937 random(static_cast<unsigned>(seed_++));
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> values(static_cast<std::size_t>(size), 1.0f);
  for (float& v : values) {
    if (name.ends_with("A_log")) v = std::log(1 + 15 * uniform(random));
    if (name.ends_with("dt_bias"))
      v = std::log(std::expm1(std::exp(std::log(1e-3f) + uniform(random) * std::log(100.0f))));
    if (name.ends_with("bias") && !name.ends_with("dt_bias")) v = 0;
  }
  return {upload(values), size};
}

Table DeviceWeights::table(const std::string&, std::int64_t rows, std::int64_t cols) {
  std::mt19937 random(static_cast<unsigned>(seed_++));
  std::normal_distribution<float> normal(0, cols <= 8 ? 0.4f : 1 / std::sqrt(static_cast<float>(cols)));
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (float& v : values) v = normal(random);
  return {upload(values), rows, cols};
}

}  // namespace strata::gpu_check
