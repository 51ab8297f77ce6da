// Random weights of a full-size model, made in the GPU's memory: formats as the NVFP4 release of Nemotron-3-Nano has.
#pragma once

#include "backend/cuda/cuda_backend.h"
#include "model/weight_source.h"

namespace strata::gpu_check {

/// Fills `bytes` of packed tiles of a format with random weights: `spread` times a uniform number in [-1, 1] for bf16,
/// all codes and scales from 1/2 to 4 for nvfp4.
void fill_tiles(const cuda::Launch& to, std::byte* tiles, std::int64_t bytes, cuda::Format format, float spread,
                std::uint64_t seed);

/// Operations a second of Hopper's matrix unit on bf16 alone, a product and its sum counted as two; 0 on other GPUs.
double matrix_rate(CudaBackend& backend);

class DeviceWeights : public WeightSource {
 public:
  explicit DeviceWeights(CudaBackend& backend) : backend_(backend) {}
  std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) override;
  std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                  std::int64_t out, std::int64_t in) override;
  Vector vector(const std::string& name, std::int64_t size) override;
  Table table(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::optional<float> scalar(const std::string&) override { return std::nullopt; }
  /// Of all linear layers.
  std::int64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<Linear> make(const std::string& name, std::int64_t n, std::int64_t out, std::int64_t in);
  Buffer upload(const std::vector<float>& values);

  CudaBackend& backend_;
  std::int64_t bytes_ = 0;
  std::uint64_t seed_ = 1;
};

}  // namespace strata::gpu_check
