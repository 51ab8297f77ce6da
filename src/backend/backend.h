// The operations that models are made of, and the memory they work on.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backend/batch.h"
#include "backend/sampling.h"
#include "tensor/matrix.h"
#include "tensor/weight_formats.h"

namespace strata {

/// Memory of a backend; the last owner frees it.
using Buffer = std::shared_ptr<std::byte>;

/// A linear layer, or a bank of `experts` of them, in the layout that its backend computes with.
/// Made by Backend::load_linear; a backend takes only its own.
struct Linear {
  std::int64_t in_features = 0, out_features = 0, experts = 1;
  std::string_view format;        // "f32", "bf16", "fp8", "nvfp4" or, for a bank that mixes them, "mixed"
  std::int64_t packed_bytes = 0;  // what it takes in the backend's memory
  virtual ~Linear() = default;
};

/// f32 values in a backend's memory.
struct Vector {
  Buffer data;
  std::int64_t size = 0;
};

/// An f32 matrix in a backend's memory: weights that are no linear layer's, and the router's gate.
struct Table {
  Buffer data;
  std::int64_t rows = 0, cols = 0;
  ConstMatrix view() const { return {data.get(), DType::f32, rows, cols, cols}; }
};

/// A batch whose index arrays lie in the backend's memory, at addresses that stay put from step to step.
struct StagedBatch {
  Batch host;
  Buffer device;
};

/// The state of one layer, for all sequences; see state/.
struct ConvState {
  Buffer data;  // [slots, width - 1, channels]: the last inputs, oldest first
  DType dtype = DType::bf16;
  std::int64_t channels = 0, width = 0;
};
struct SsmState {
  Buffer data;  // f32 [slots, heads, head_dim, state_size]
  std::int64_t heads = 0, head_dim = 0, state_size = 0;
};
struct KvPages {
  Buffer data;  // [pages, 2, heads, page_size, head_dim]: a page's keys, then its values
  DType dtype = DType::bf16;
  std::int64_t page_size = 0, heads = 0, head_dim = 0;
  float k_scale = 1, v_scale = 1;  // e4m3 only: what is stored is k / k_scale
};

/// How a backend keeps the state of sequences. The SSM state is f32 everywhere.
struct StateTypes {
  DType conv = DType::bf16, kv = DType::bf16;
};

/// What a Mamba-2 scan reads besides its input; per head.
struct SsdParameters {
  Vector A_log, D, dt_bias;
  std::int64_t groups = 1;
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();  // config's time_step_limit
};

/// How the router chooses (config's n_group, topk_group, norm_topk_prob, routed_scaling_factor).
struct RouterParameters {
  std::int64_t groups = 1, chosen_groups = 1;
  bool normalize = true;
  float scaling = 1;
};

/// The experts of each token in ascending order of id: ids i32 [tokens, k], weights f32 [tokens, k].
struct Routing {
  Matrix ids, weights;
};

/// What `sample` fills, a row per logit row: tokens i32 [rows, 1], logprobs f32 [rows, 1],
/// top_ids i32 [rows, kMaxTopLogprobs], top_logprobs f32 [rows, kMaxTopLogprobs].
struct Samples {
  Matrix tokens, logprobs, top_ids, top_logprobs;
};

/// The largest step that a backend must be ready for.
struct WorkLimits {
  std::int64_t tokens = 0, logit_rows = 0, sequences = 0, slots = 0, context = 0;
  std::int64_t features = 0;  // the widest input of a linear layer
  std::int64_t experts = 0;   // routed experts of a layer, 0 if there are none
  std::int64_t experts_per_token = 0;
  std::int64_t expert_features = 0;  // the widest inner width of a routed expert
};

/// Ops take inputs, weights, batch and state, then `out`. `out` aliases no input unless its op says so.
/// Activations are f32 matrices [tokens, features]. Where a value is rounded is one list for all backends
/// (ARCHITECTURE.md, "Where values are rounded"); the reference backend can leave the rounding out.
/// Shapes are checked. What a backend can't compute it refuses with an Error when the model is loaded,
/// never by substituting something else in a step. Ops run in the order of the calls, some of them later: what they
/// read (weights too) and write lives until `wait` has returned for a mark behind them.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// What it runs on, for the plan: "cpu avx512, 2 threads".
  virtual std::string description() const = 0;

  // Memory. `allocate` zeroes and throws Error{out_of_memory}.
  virtual Buffer allocate(std::int64_t bytes) = 0;
  virtual void upload(std::span<const std::byte> host, std::byte* to) = 0;
  virtual void download(const std::byte* from, std::span<std::byte> host) = 0;
  virtual void copy(const std::byte* from, std::byte* to, std::int64_t bytes) = 0;
  virtual void zero(std::byte* at, std::int64_t bytes) = 0;
  /// Bytes that may still be taken of memory that is not the host's; nothing: it takes the host's.
  virtual std::optional<std::int64_t> available_memory() const { return std::nullopt; }
  /// Tokens of a prompt that make a good step.
  virtual std::int64_t prompt_chunk() const { return 512; }

  // Weights.
  /// Reads and repacks the weights of a linear layer, or of a bank of experts of one shape (formats may differ).
  /// Throws Error{bad_model} if there is no kernel for a format or the file got shorter.
  virtual std::unique_ptr<Linear> load_linear(std::span<const LinearWeight> experts) = 0;
  /// What load_linear would take, without reading anything.
  virtual std::int64_t packed_bytes(std::span<const LinearWeight> experts) const = 0;

  // State and scratch.
  /// How states are kept if keys and values are asked for in `kv` (bf16 or f8_e4m3).
  virtual StateTypes state_types(DType kv) const { return {DType::bf16, kv}; }
  /// Memory of the backend's own that steps within `limits` need.
  virtual std::int64_t scratch_bytes(const WorkLimits& limits) const = 0;
  /// Takes it; after this a step within `limits` allocates nothing. Called before the first step.
  virtual void reserve(const WorkLimits& limits) = 0;

  // Steps. `run` may record `body` once per key and replay it after (CUDA graphs).
  virtual StagedBatch stage(const Batch& batch) = 0;
  virtual void run(std::uint64_t /*key*/, const std::function<void()>& body) { body(); }
  /// A mark behind everything enqueued so far; has the backend got there; wait until it has.
  virtual std::uint64_t mark() { return 0; }
  virtual bool reached(std::uint64_t /*mark*/) { return true; }
  virtual void wait(std::uint64_t /*mark*/) {}

  // Ops.
  /// Rows of `table` [vocab, hidden], in any weight format. kTokenOfLastStep is what `sample` chose last for the slot.
  virtual void embed(const StagedBatch& batch, const Linear& table, Matrix out) = 0;
  /// x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4).
  virtual void rms_norm(ConstMatrix x, const Vector& weight, float eps, Matrix out) = 0;
  /// out = x W^T, x rounded to bf16.
  virtual void linear(ConstMatrix x, const Linear& w, Matrix out) = 0;
  /// out = x W^T in float32, nothing rounded: the router's product. w: [out, in].
  virtual void linear_f32(ConstMatrix x, const Table& w, Matrix out) = 0;
  /// out += x.
  virtual void add(ConstMatrix x, Matrix out) = 0;
  /// max(0, x)^2 (So et al. 2021, arXiv:2109.08668). `out` may be x.
  virtual void relu_squared(ConstMatrix x, Matrix out) = 0;
  /// y_t = silu(b + sum_k w_k x_{t-width+1+k}), each channel by itself (Mamba-2's causal convolution), x rounded to
  /// bf16. x, out: [tokens, channels]; kernel: [channels, width]. Reads what lies before each sequence's rows from
  /// `state` and leaves its last width - 1 inputs there.
  virtual void causal_conv1d_silu(const StagedBatch& batch, ConstMatrix x, const Table& kernel, const Vector& bias,
                                  ConvState& state, Matrix out) = 0;
  /// The selective state space of Mamba-2 (Dao & Gu 2024, arXiv:2405.21060, section 2), as a recurrence over the
  /// tokens: dt <- clamp(softplus(dt + dt_bias)); S <- exp(-dt exp(A_log)) S + dt x B^T; y = S C + D x.
  /// xBC: [tokens, heads * head_dim + 2 * groups * state_size] as x, B, C; dt: [tokens, heads];
  /// out: [tokens, heads * head_dim]. Head h reads group h / (heads / groups).
  virtual void ssd_scan(const StagedBatch& batch, ConstMatrix xBC, ConstMatrix dt, const SsdParameters& p,
                        SsmState& state, Matrix out) = 0;
  /// out = rms_norm(y * silu(z)), each of `groups` groups of columns by itself. `out` may be y.
  virtual void gated_rms_norm(ConstMatrix y, ConstMatrix z, const Vector& weight, std::int64_t groups, float eps,
                              Matrix out) = 0;
  /// Stores k and v [tokens, heads * head_dim] at the sequences' new positions, in the cache's type.
  virtual void append_kv(const StagedBatch& batch, ConstMatrix k, ConstMatrix v, KvPages& cache) = 0;
  /// out = softmax(scale q K^T) V over the positions up to the query's own, q rounded to bf16
  /// (Vaswani et al. 2017, arXiv:1706.03762, eq. 1; grouped queries: arXiv:2305.13245).
  virtual void attention(const StagedBatch& batch, ConstMatrix q, const KvPages& cache, float scale, Matrix out) = 0;
  /// score = sigmoid(logit). The `chosen_groups` groups whose two best (score + bias) sum highest stay; in them the k
  /// experts of the largest score + bias, the lower id among equals; weights = score, over their sum + 1e-20 if
  /// `normalize`, times `scaling` (HF NemotronHTopkRouter; DeepSeek-V3, arXiv:2412.19437, eq. 16).
  virtual void route(ConstMatrix logits, const Vector& bias, const RouterParameters& p, Routing out) = 0;
  /// out = sum over a token's experts, in ascending id, of weight * down(relu(up(x))^2); x and relu^2 rounded to bf16.
  virtual void experts(ConstMatrix x, const Routing& routing, const Linear& up, const Linear& down, Matrix out) = 0;
  /// The rows of x [tokens, features] that the batch wants logits of.
  virtual void gather_logit_rows(const StagedBatch& batch, ConstMatrix x, Matrix out) = 0;
  /// Chooses a token for every row of `logits` [logit_rows, vocab] as sample_row says, and remembers it for its
  /// sequence's slot. rows: one a logit row.
  virtual void sample(const StagedBatch& batch, ConstMatrix logits, std::span<const SamplingRow> rows,
                      const Samples& out) = 0;
};

}  // namespace strata
