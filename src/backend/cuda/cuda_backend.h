// The ops on one NVIDIA GPU (Hopper, or Blackwell's sm_120): kernels on one stream, steps of single tokens as replayed
// graphs. docs/cuda-decode.md is the essay.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cuda_handles.h"
#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/cuda_weights.h"
#include "backend/cuda/kernels/attention.h"
#include "backend/cuda/kernels/moe.h"
#include "backend/cuda/kernels/sample.h"

namespace strata {

/// What tests switch off to compare: none of it may change a bit.
struct CudaOptions {
  int device = 0;
  bool graphs = true;   // replay steps that `run` names
  bool overlap = true;  // programmatic dependent launch
  bool fuse = true;     // ops that follow each other become one kernel where there is one
};

/// Why CudaBackend can't be made here, in a sentence; empty if it can.
std::string why_no_gpu();

class CudaBackend : public Backend {
 public:
  /// Throws Error{no_device} if there is no such GPU or it is of a kind without kernels in this build.
  explicit CudaBackend(const CudaOptions& options = {});
  ~CudaBackend() override;

  std::string_view name() const override { return "cuda"; }
  std::string description() const override;

  Buffer allocate(std::int64_t bytes) override;
  void upload(std::span<const std::byte> host, std::byte* to) override;
  void download(const std::byte* from, std::span<std::byte> host) override;
  void copy(const std::byte* from, std::byte* to, std::int64_t bytes) override;
  void zero(std::byte* at, std::int64_t bytes) override;
  std::optional<std::int64_t> available_memory() const override;

  std::unique_ptr<Linear> load_linear(std::span<const LinearWeight> experts) override;
  std::int64_t packed_bytes(std::span<const LinearWeight> experts) const override;

  std::int64_t scratch_bytes(const WorkLimits& limits) const override;
  void reserve(const WorkLimits& limits) override;
  StagedBatch stage(const Batch& batch) override;
  void run(std::uint64_t key, const std::function<void()>& body) override;
  std::uint64_t mark() override;
  bool reached(std::uint64_t mark) override;
  void wait(std::uint64_t mark) override;

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

  // For benchmarks and the generator of random weights.
  const cuda::Launch& launch() const { return to_; }
  /// A linear layer whose tiles are to be filled by the caller.
  std::unique_ptr<cuda::CudaLinear> empty_linear(std::int64_t rows, std::int64_t cols, cuda::Format format,
                                                 std::span<const float> scales);
  /// Kernels launched so far, those of replayed graphs not counted.
  std::int64_t launches() const { return launches_; }
  /// Kernels of the graph that was replayed last.
  std::int64_t graph_kernels() const { return graph_kernels_; }

 private:
  /// Inputs that a kernel has rounded to bf16 when it made them, so that no product has to.
  struct Rounded {
    const std::byte* of = nullptr;  // the f32 matrix; null: none
    std::int64_t rows = 0, cols = 0, stride = 0;
    cuda::Bf16Rows values;
  };
  enum RoundedSlot { kNormed, kGated, kHidden, kOther, kRoundedSlots };

  /// Where `slot` keeps [rows, cols] rounded, to be noted by `note` once it is made.
  cuda::RoundedRows room_for(RoundedSlot slot, std::int64_t cols);
  void note_rounded(RoundedSlot slot, const Matrix& of);
  /// x rounded to bf16: as it was when it was made, or now.
  cuda::Bf16Rows rounded(const ConstMatrix& x);
  /// Forgets what is known of memory that is about to change.
  void changes(const std::byte* data, std::int64_t bytes);
  void changes(const Matrix& m) { changes(m.data, m.rows * m.stride * size_of(m.dtype)); }

  /// Blocks of keys that attention is launched for: of the longest staged sequence, up to a power of 2.
  std::int64_t attention_blocks() const;
  /// Launches what waits to be fused with an op that may come.
  void flush();
  void flush_products();
  /// The groups of experts that a step's tokens make, of up to `item_rows` rows.
  cuda::ExpertItems group(const Routing& routing, std::int64_t experts, std::int64_t item_rows);

  cuda::SampleRow host_choice(ConstMatrix logits, std::int64_t row, const SamplingRow& wishes);

  CudaOptions options_;
  std::string gpu_;
  cuda::Stream stream_, copies_;
  cuda::Launch to_;
  std::unique_ptr<cuda::WeightLoader> loader_;

  // Of `reserve`.
  WorkLimits limits_;
  Buffer scratch_, last_tokens_;
  std::unique_ptr<CudaPlan> plan_;
  Rounded rounded_[kRoundedSlots];
  Buffer counting_;  // i32: 0, 1, 2, ... then as many 1, then experts_per_token: the groups of a single token

  // What waits: products of one input, or a sum (out += x).
  struct Pending {
    std::vector<cuda::LinearJob> products;
    ConstMatrix input;
    std::vector<Matrix> outputs;
    ConstMatrix addend;
    Matrix sum;             // no data: none
    cuda::Mixture mixture;  // a token's experts
    Matrix mixed;           // where that goes
  };
  Pending pending_;

  // Blocks of host memory on their way to the device, one a step; a block is used again once its copy is done.
  struct StagingBlock {
    cuda::Pinned memory;
    cuda::Event copied;
  };
  std::vector<StagingBlock> staging_;
  std::size_t next_staging_ = 0;
  StagingBlock& next_block();

  cuda::DeviceBatch device_batch() const;
  std::int64_t staged_spans_ = 0, staged_keys_ = 1;  // of the last stage: spans, and the longest sequence

  // Marks, and where samples of recent steps went.
  static constexpr std::size_t kEvents = 64;
  std::vector<cuda::Event> marks_;
  std::uint64_t last_mark_ = 0;
  struct SampledBuffers {
    const std::byte* at[4] = {};
    std::size_t event = 0;
  };
  std::deque<SampledBuffers> sampled_;
  std::vector<cuda::Event> sampled_events_;
  std::size_t next_sampled_ = 0;
  std::vector<float> host_logits_;

  struct Recorded {
    bool seen = false;  // ran once, so that a capture meets no first use of a kernel
    std::int64_t kernels = 0;
    cuda::GraphExec graph;
  };
  std::map<std::pair<std::uint64_t, std::int64_t>, Recorded> graphs_;
  bool capturing_ = false;
  std::int64_t launches_ = 0, graph_kernels_ = 0;
};

}  // namespace strata
