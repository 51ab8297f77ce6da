// The ops as their equations say, one loop nest each, summing in double: what every backend is held to.
#pragma once

#include <map>
#include <vector>

#include "backend/backend.h"

namespace strata {

/// Whether the reference rounds where the fast backends do (ARCHITECTURE.md, "Where values are rounded").
enum class Rounding {
  none,    // the meaning: nothing but the f32 of activations and states
  strata,  // so that a fast backend can be compared closely
};

class ReferenceBackend : public Backend {
 public:
  explicit ReferenceBackend(Rounding rounding = Rounding::none) : rounding_(rounding) {}
  std::string_view name() const override { return "reference"; }
  std::string description() const override;

  Buffer allocate(std::int64_t bytes) override;
  void upload(std::span<const std::byte> host, std::byte* to) override;
  void download(const std::byte* from, std::span<std::byte> host) override;
  void copy(const std::byte* from, std::byte* to, std::int64_t bytes) override;
  void zero(std::byte* at, std::int64_t bytes) override;

  std::unique_ptr<Linear> load_linear(std::span<const LinearWeight> experts) override;
  std::int64_t packed_bytes(std::span<const LinearWeight> experts) const override;

  /// Without rounding, conv inputs, keys and values are kept as f32 whatever is asked for.
  StateTypes state_types(DType kv) const override;
  std::int64_t scratch_bytes(const WorkLimits&) const override { return 0; }
  void reserve(const WorkLimits&) override {}
  StagedBatch stage(const Batch& batch) override { return {batch, nullptr}; }

  void embed(const StagedBatch& batch, const Linear& table, Matrix out) override;
  void rms_norm(ConstMatrix x, const Vector& weight, float eps, Matrix out) override;
  void linear(ConstMatrix x, const Linear& w, Matrix out) override;
  void linear_f32(ConstMatrix x, const Table& w, Matrix out) override;
  void add(ConstMatrix x, Matrix out) override;
  void relu_squared(ConstMatrix x, Matrix out) override;
  void causal_conv1d_silu(const StagedBatch& batch, ConstMatrix x, const Table& kernel, const Vector& bias,
                          ConvState& state, Matrix out) override;
  void ssd_scan(const StagedBatch& batch, ConstMatrix xBC, ConstMatrix dt, const SsdParameters& p, SsmState& state,
                Matrix out) override;
  void gated_rms_norm(ConstMatrix y, ConstMatrix z, const Vector& weight, std::int64_t groups, float eps,
                      Matrix out) override;
  void append_kv(const StagedBatch& batch, ConstMatrix k, ConstMatrix v, KvPages& cache) override;
  void attention(const StagedBatch& batch, ConstMatrix q, const KvPages& cache, float scale, Matrix out) override;
  void route(ConstMatrix logits, const Vector& bias, const RouterParameters& p, Routing out) override;
  void experts(ConstMatrix x, const Routing& routing, const Linear& up, const Linear& down, Matrix out) override;
  void gather_logit_rows(const StagedBatch& batch, ConstMatrix x, Matrix out) override;
  void sample(const StagedBatch& batch, ConstMatrix logits, std::span<const SamplingRow> rows,
              const Samples& out) override;

 private:
  /// What a linear layer sees of x.
  float rounded(float x) const { return rounding_ == Rounding::strata ? round_to_bf16(x) : x; }
  std::vector<float> rounded_row(const float* x, std::int64_t n) const;

  Rounding rounding_;
  std::map<std::int32_t, TokenId> last_token_;  // by slot
};

}  // namespace strata
