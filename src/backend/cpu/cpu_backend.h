// The CPU backend: packed weights, kernels of the best instruction set, a pool of threads.
#pragma once

#include "backend/backend.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/packed_linear.h"
#include "backend/cpu/scratch.h"
#include "base/thread_pool.h"

namespace strata {

/// The law holds always: a row's arithmetic has one order, whatever the rows beside it, the chunk or the threads.
/// An op may be called only after `reserve`, within its limits; several calls of `reserve` may follow each other.
class CpuBackend final : public Backend {
 public:
  /// threads 0: as many as this process may run on. `pinned`: one per core, the thread that steps among them. Throws
  /// Error{no_device} if this machine lacks `isa`.
  explicit CpuBackend(int threads = 0, Isa isa = best_isa(), bool pinned = false);

  std::string_view name() const override { return "cpu"; }
  std::string description() const override;

  Buffer allocate(std::int64_t bytes) override;
  void upload(std::span<const std::byte> host, std::byte* to) override;
  void download(const std::byte* from, std::span<std::byte> host) override;
  void copy(const std::byte* from, std::byte* to, std::int64_t bytes) override;
  void zero(std::byte* at, std::int64_t bytes) override;

  std::unique_ptr<Linear> load_linear(std::span<const LinearWeight> experts) override;
  std::int64_t packed_bytes(std::span<const LinearWeight> experts) const override;

  std::int64_t scratch_bytes(const WorkLimits& limits) const override;
  void reserve(const WorkLimits& limits) override;
  StagedBatch stage(const Batch& batch) override;

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
  const PackedLinear& packed(const Linear& linear) const;
  const Scratch& scratch() const;
  /// Rows [first, first + count) of x as activations into scratch, padded with zeros to whole blocks.
  void round_rows(ConstMatrix x, std::int64_t first, std::int64_t count);
  void multiply_rows(const PackedLinear& w, std::int64_t count);
  /// Sorts the pairs of tokens [first, first + count) by expert; returns how many experts have any.
  std::int64_t sort_pairs(const Routing& routing, std::int64_t first, std::int64_t count, std::int64_t experts,
                          std::int64_t in_features, std::int64_t inner_features);
  void multiply_experts(const PackedLinear& w, std::int64_t active, const void* const* x, float* const* out,
                        bool then_relu_squared);

  ThreadPool pool_;
  const Isa isa_;
  const KernelTable& kernels_;
  HostArena arena_;  // of what is smaller than a huge page, and of packed weights
  WeightPacker packer_{kernels_, pool_, arena_};
  Scratch scratch_;
  Buffer scratch_memory_;
};

/// Items of a loop that one thread does by itself, if each reads and writes about `bytes` of memory near the processor:
/// waking another takes as long.
constexpr std::int64_t items_alone(std::int64_t bytes) { return (std::int64_t{192} << 10) / (bytes + 1) + 1; }

/// The sequence that row `row` belongs to.
const SequenceRows& sequence_of_row(const Batch& batch, std::int64_t row);

}  // namespace strata
