// The ops on one NVIDIA GPU (Hopper, or Blackwell's sm_120): kernels on one stream, steps of single tokens as replayed
// graphs. docs/cuda-decode.md is the essay.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cuda_handles.h"
#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/cuda_weights.h"
#include "backend/cuda/kernels/attention_step.h"
#include "backend/cuda/kernels/few_rows.h"
#include "backend/cuda/kernels/mamba_step.h"
#include "backend/cuda/kernels/sample.h"

namespace strata {

/// What tests switch off to compare: none of it may change a bit.
struct CudaOptions {
  int device = 0;
  bool graphs = true;   // replay steps that `run` names
  bool overlap = true;  // programmatic dependent launch
  bool fuse = true;     // ops that follow each other become one kernel where there is one
  bool prompts = true;  // kernels of their own for the many rows of prompts
  bool fast = false;    // prompts may differ from single tokens in their last bits
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
  /// With few tokens reading the experts' weights takes longer than multiplying by them; Hopper's wide instruction has
  /// use for more of each expert.
  std::int64_t prompt_chunk() const override { return to_.wide ? 8192 : 2048; }

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
    bool interleaved = false;
  };
  enum RoundedSlot { kNormed, kInner, kHidden, kOther, kRoundedSlots };

  /// Where `slot` keeps [rows, cols] rounded, to be noted by `note` once it is made.
  cuda::RoundedRows room_for(RoundedSlot slot, std::int64_t cols, bool interleaved = false);
  void note_rounded(RoundedSlot slot, const Matrix& of, bool interleaved = false);
  /// x rounded to bf16, interleaved or not: as it was when it was made, or now.
  cuda::Bf16Rows rounded(const ConstMatrix& x, bool interleaved = false);
  /// Whether so many rows go to the kernels of prompts, which read their inputs interleaved.
  bool is_prompt(std::int64_t rows) const { return to_.wide && rows > cuda::kFewRows; }
  /// Forgets what is known of memory that is about to change.
  void changes(const std::byte* data, std::int64_t bytes);
  void changes(const Matrix& m) { changes(m.data, m.rows * m.stride * size_of(m.dtype)); }

  /// Blocks of keys that attention is launched for: of the longest staged sequence, up to a power of 2.
  std::int64_t attention_blocks() const;
  /// Launches what waits to be fused with an op that may come.
  void flush();
  void flush_products();
  void flush_norm();
  void flush_router();
  void flush_mamba();
  void flush_append();
  void flush_down();
  /// Whether every sequence has one token, and so the kernels for such steps may do.
  bool is_single_step(const StagedBatch& batch) const;
  /// The groups of experts that a step's tokens make, of up to `item_rows` rows; `grouped`: they are made already.
  cuda::ExpertItems group(const Routing& routing, std::int64_t experts, std::int64_t item_rows, bool grouped);
  cuda::GroupMemory group_memory() const;
  /// Multiplies by the experts' first matrices; the second ones are pending then.
  void launch_experts_up(ConstMatrix x, const Routing& routing, const cuda::PackedBank& up,
                         const cuda::PackedBank& down, std::int64_t experts, Matrix out, bool grouped);

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

  // What waits for the op that it may be one kernel with.
  struct Pending {
    // Products of one input.
    std::vector<cuda::LinearJob> products;
    ConstMatrix input;
    std::vector<Matrix> outputs;
    // out += x.
    ConstMatrix addend;
    Matrix sum;             // no data: none
    cuda::Mixture mixture;  // a token's experts
    Matrix mixed;           // where that goes
    // A norm of one row, which the kernel that reads it may make.
    struct Norm {
      cuda::NormJob job;
      ConstMatrix x;
      Matrix out;
    };
    std::optional<Norm> norm;
    // A router's product, the choice after it, and the experts that it chooses.
    struct Router {
      ConstMatrix x;
      cuda::RouterJob job;
      Matrix logits;
      bool chooses = false;
      Routing routing;
      bool with_experts = false;
      cuda::PackedBank up, down;
      std::int64_t experts = 0;
      Matrix out;
    };
    std::optional<Router> router;
    // The experts' second matrices.
    struct Down {
      cuda::PackedBank bank;
      cuda::Bf16Rows x;
      cuda::ExpertItems items;
      cuda::LinearOutput each;
      std::int64_t rows = 0;
      bool prompt = false;  // `x` is interleaved, for prefill_experts
      bool few = false;     // or prefill_few_experts
      cuda::Mixture mixture;
    };
    std::optional<Down> down;
    // Convolution, then the scan of what it makes.
    struct Mamba {
      cuda::MambaStep step;
      Matrix convolved, y;
      std::int64_t sequences = 0;
      bool scans = false;
    };
    std::optional<Mamba> mamba;
    // Keys and values to be stored.
    struct Append {
      ConstMatrix k, v;
      cuda::Cache cache;
    };
    std::optional<Append> append;
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
  bool staged_short_ = false, staged_long_ = false;  // there are sequences of few new tokens; of many

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
