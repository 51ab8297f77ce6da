// Ops as launches. Some wait for the next one: a sum for the norm that reads it, products for more of the same input or
// for the relu^2 of their output. What waits is launched before anything else could see that it has not been.
#include <algorithm>
#include <string>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/kernels/mamba.h"
#include "backend/cuda/kernels/prefill_attention.h"
#include "backend/cuda/kernels/prefill_group.h"
#include "backend/cuda/kernels/prefill_linear.h"
#include "backend/cuda/kernels/prefill_norm.h"
#include "backend/cuda/kernels/prefill_router.h"
#include "backend/cuda/kernels/prefill_scan.h"
#include "base/error.h"

namespace strata {

using namespace cuda;

namespace {

constexpr std::size_t kMostProducts = 3;

const CudaLinear& own(const Linear& w) { return static_cast<const CudaLinear&>(w); }
const float* f32(const Vector& v) { return reinterpret_cast<const float*>(v.data.get()); }
ConstRows rows_of(const ConstMatrix& m) {
  CHECK(m.dtype == DType::f32, "activations are f32");
  return {reinterpret_cast<const float*>(m.data), m.stride};
}
Rows rows_of(const Matrix& m) {
  CHECK(m.dtype == DType::f32, "activations are f32");
  return {reinterpret_cast<float*>(m.data), m.stride};
}
bool same(const ConstMatrix& a, const ConstMatrix& b) {
  return a.data == b.data && a.rows == b.rows && a.cols == b.cols && a.stride == b.stride;
}

Cache cache_of(const KvPages& c) {
  if (c.head_dim > kMostHeadDim)
    throw Error(ErrorCode::bad_model, "the cuda backend has no attention for heads of " + std::to_string(c.head_dim) +
                                          " values; it takes up to " + std::to_string(kMostHeadDim));
  return {c.data.get(),
          c.dtype == DType::f8_e4m3,
          static_cast<std::int32_t>(c.page_size),
          static_cast<std::int32_t>(c.heads),
          static_cast<std::int32_t>(c.head_dim),
          c.k_scale,
          c.v_scale};
}

}  // namespace

void CudaBackend::flush_norm() {
  if (!pending_.norm) return;
  const Pending::Norm n = *std::exchange(pending_.norm, std::nullopt);
  const Rows in{const_cast<float*>(n.job.x), n.x.stride};  // not written: nothing is added
  add_rms_norm(to_, {}, {}, in, n.job.weight, n.job.eps, 1, n.job.cols, rows_of(n.out), n.job.rounded);
  note_rounded(kNormed, n.out);
}

void CudaBackend::flush_products() {
  if (pending_.products.empty()) return;
  const std::int64_t rows = pending_.input.rows;
  std::vector<LinearJob>& jobs = pending_.products;
  const auto count = static_cast<int>(jobs.size());
  if (pending_.norm && same(pending_.input, pending_.norm->out) && fits_normed(to_, jobs.data(), count)) {
    const Pending::Norm n = *std::exchange(pending_.norm, std::nullopt);
    linear_normed(to_, jobs.data(), count, n.job);
    note_rounded(kNormed, n.out);
    jobs.clear();
    pending_.outputs.clear();
    return;
  }
  flush_norm();
  const bool prompt = is_prompt(rows) && fits_prefill(pending_.products[0].bank);
  const Bf16Rows x = rounded(pending_.input, prompt);
  for (LinearJob& job : pending_.products) job.x = x;
  if (prompt) {
    CHECK(pending_.products.size() == 1, "products of many rows aren't joined");
    prefill_linear(to_, pending_.products[0], rows, options_.fast);
  } else {
    cuda::linear(to_, pending_.products.data(), static_cast<int>(pending_.products.size()), rows);
  }
  pending_.products.clear();
  pending_.outputs.clear();
}

void CudaBackend::flush_router() {
  if (!pending_.router) return;
  flush_norm();
  const Pending::Router r = *std::exchange(pending_.router, std::nullopt);
  const RouterJob& job = r.job;
  const bool prompt = options_.prompts && r.x.rows > kFewRows && fits_prefill_linear_f32(job.x, job.w, job.cols);
  (prompt ? prefill_linear_f32 : cuda::linear_f32)(to_, job.x, job.w, r.x.rows, job.cols, r.logits.cols, job.logits);
  if (r.chooses) cuda::route(to_, job.logits, job.bias, job.shape, r.x.rows, job.ids, job.ids_stride, job.weights);
  if (r.with_experts) launch_experts_up(r.x, r.routing, r.up, r.down, r.experts, r.out, false);
}

void CudaBackend::flush_mamba() {
  if (!pending_.mamba) return;
  const Pending::Mamba p = *std::exchange(pending_.mamba, std::nullopt);
  const MambaStep& m = p.step;
  const auto convolve = options_.prompts && p.convolved.rows > kFewRows && fits_prefill_conv(m.width)
                            ? prefill_conv
                            : cuda::causal_conv1d_silu;
  convolve(to_, device_batch(), staged_spans_, m.x, m.kernel, m.conv_bias, m.conv_state, m.channels, m.width,
           m.convolved);
  if (p.scans)
    cuda::ssd_scan(to_, device_batch(), p.sequences, m.convolved, m.dt, m.A_log, m.D, m.dt_bias, m.shape, m.state, m.y);
}

void CudaBackend::flush_append() {
  if (!pending_.append) return;
  const Pending::Append a = *std::exchange(pending_.append, std::nullopt);
  cuda::append_kv(to_, device_batch(), a.k.rows, rows_of(a.k), rows_of(a.v), a.cache);
}

void CudaBackend::flush_down() {
  if (!pending_.down) return;
  const Pending::Down d = *std::exchange(pending_.down, std::nullopt);
  if (d.few) {
    prefill_few_experts(to_, d.bank, d.x, d.items, d.each);
  } else if (d.prompt) {
    prefill_experts(to_, d.bank, d.x, d.rows * d.mixture.chosen, d.items, d.each, options_.fast);
  } else {
    expert_linear(to_, d.bank, d.x, d.items, d.rows > kFewRows, d.each);
  }
  pending_.mixture = d.mixture;
}

void CudaBackend::flush() {
  flush_router();
  flush_mamba();
  flush_append();
  flush_products();
  flush_norm();
  flush_down();
  if (pending_.mixture.y) {
    const Mixture m = std::exchange(pending_.mixture, {});
    const Matrix out = pending_.mixed;
    combine_experts(to_, m.y, m.y_stride, m.weights, out.rows, m.chosen, out.cols, m.out);
    if (m.shared.data) cuda::add(to_, m.shared, out.rows, out.cols, m.out);
  }
  if (pending_.sum.data) {
    const Matrix out = std::exchange(pending_.sum, {});
    cuda::add(to_, rows_of(pending_.addend), out.rows, out.cols, rows_of(out));
  }
}

bool CudaBackend::is_single_step(const StagedBatch& batch) const {
  return options_.fuse && batch.host.tokens.size() == batch.host.sequences.size();
}

void CudaBackend::embed(const StagedBatch& batch, const Linear& table, Matrix out) {
  flush();
  changes(out);
  CHECK(table.in_features == out.cols, "shapes of an embedding");
  cuda::embed(to_, device_batch(), own(table).bank, reinterpret_cast<const std::int32_t*>(last_tokens_.get()),
              static_cast<std::int64_t>(batch.host.tokens.size()), rows_of(out));
}

void CudaBackend::rms_norm(ConstMatrix x, const Vector& weight, float eps, Matrix out) {
  const bool fused = pending_.sum.data && same(pending_.sum, x);
  const Matrix sum = fused ? std::exchange(pending_.sum, {}) : Matrix{};
  Mixture mixture;
  if (fused && pending_.mixture.y && same(pending_.addend, pending_.mixed))
    mixture = std::exchange(pending_.mixture, {});
  flush();
  if (out.rows == 0) return;
  changes(out);
  if (options_.fuse && x.rows == 1 && !sum.data && x.cols <= kMostNormCols) {
    Pending::Norm& n = pending_.norm.emplace();
    n.job = {rows_of(x).data, f32(weight), eps, x.cols, rows_of(out).data, room_for(kNormed, x.cols)};
    n.x = x;
    n.out = out;
    return;
  }
  const Rows in{const_cast<float*>(reinterpret_cast<const float*>(x.data)), x.stride};  // written only if it is a sum
  const ConstRows added = sum.data ? rows_of(pending_.addend) : ConstRows{};
  const bool prompt =
      options_.prompts && x.rows > kFewRows && fits_prefill_norm(added, mixture, in, x.cols, rows_of(out));
  (prompt ? prefill_add_rms_norm : add_rms_norm)(to_, added, mixture, in, f32(weight), eps, x.rows, x.cols,
                                                 rows_of(out), room_for(kNormed, x.cols, is_prompt(x.rows)));
  note_rounded(kNormed, out, is_prompt(x.rows));
}

void CudaBackend::linear(ConstMatrix x, const Linear& w, Matrix out) {
  CHECK(x.cols == w.in_features && out.cols == w.out_features && x.rows == out.rows, "shapes of a linear layer");
  if (x.rows == 0) return;
  const PackedBank& bank = own(w).bank;
  LinearOutput output;
  output.out = rows_of(out).data;
  output.stride = out.stride;
  if (pending_.norm && !same(x, pending_.norm->out)) flush();
  if (pending_.router && !(pending_.router->with_experts && same(x, pending_.router->x) && pending_.products.empty()))
    flush_router();
  if (pending_.sum.data || same(x, pending_.mixed) || same(out, pending_.mixed)) flush();
  if (pending_.down && fits_beside_experts(pending_.down->bank, bank, x.rows) && x.rows == pending_.down->rows &&
      !same(x, pending_.input)) {
    flush_products();
    changes(out);
    const Bf16Rows in = rounded(x);
    const Pending::Down d = *std::exchange(pending_.down, std::nullopt);
    expert_linear_beside(to_, d.bank, d.x, d.items, d.each, {bank, in, output}, x.rows);
    pending_.mixture = d.mixture;
    return;
  }
  const bool joins = options_.fuse && !pending_.products.empty() && pending_.products.size() < kMostProducts &&
                     same(pending_.input, x) && x.rows <= kFewRows;
  if (!joins) flush_products();
  if (pending_.products.empty()) pending_.input = x;
  changes(out);
  pending_.products.push_back({bank, {}, output});
  pending_.outputs.push_back(out);
  if (!options_.fuse) flush();
}

void CudaBackend::relu_squared(ConstMatrix x, Matrix out) {
  if (!pending_.products.empty() && same(pending_.outputs.back(), x) && same(out, x)) {
    LinearOutput& to = pending_.products.back().out;
    to.relu_squared = true;
    if (out.cols % kTileCols == 0) {
      const bool prompt = is_prompt(out.rows) && fits_prefill(pending_.products.back().bank);
      const bool beside_router = pending_.router && pending_.router->with_experts && pending_.products.size() == 1 &&
                                 fits_beside_linear(pending_.router->job, out.rows);
      Bf16Rows in;  // first: it may take memory that is given away here
      if (!(beside_router && pending_.norm)) in = rounded(pending_.input, prompt);
      const RoundedRows hidden = room_for(kHidden, out.cols, prompt);
      to.rounded = hidden.data;
      to.rounded_stride = hidden.stride;
      to.interleaved = prompt;
      if (beside_router) {
        const Pending::Router r = *std::exchange(pending_.router, std::nullopt);
        LinearJob job = pending_.products[0];
        job.x = in;
        pending_.products.clear();
        pending_.outputs.clear();
        NormJob norm;
        if (pending_.norm) norm = pending_.norm->job;
        linear_with_router(to_, job, out.rows, r.job, norm);
        if (pending_.norm) note_rounded(kNormed, std::exchange(pending_.norm, std::nullopt)->out);
        launch_experts_up(r.x, r.routing, r.up, r.down, r.experts, r.out, true);
      }
      flush_products();
      note_rounded(kHidden, out, prompt);
    }
    return flush_products();
  }
  flush();
  changes(out);
  cuda::relu_squared(to_, rows_of(x), out.rows, out.cols, rows_of(out));
}

void CudaBackend::linear_f32(ConstMatrix x, const Table& w, Matrix out) {
  if (!pending_.norm || !same(x, pending_.norm->out)) flush();  // a norm waits for nothing else
  changes(out);
  CHECK(x.cols == w.cols && out.cols == w.rows && x.rows == out.rows, "shapes of a linear layer");
  pending_.router = Pending::Router();
  Pending::Router& r = *pending_.router;
  r.x = x;
  r.logits = out;
  r.job.x = rows_of(x);
  r.job.w = reinterpret_cast<const float*>(w.data.get());
  r.job.cols = x.cols;
  r.job.logits = rows_of(out);
  if (!options_.fuse) flush();
}

void CudaBackend::add(ConstMatrix x, Matrix out) {
  flush_router();
  // What a product adds itself.
  if (options_.fuse && pending_.products.size() == 1 && same(pending_.outputs.back(), x) && x.rows <= kFewRows &&
      !pending_.mixture.y && !pending_.down && !pending_.sum.data) {
    changes(out);
    pending_.products.back().out.sum = rows_of(out).data;
    pending_.products.back().out.sum_stride = out.stride;
    return flush_products();
  }
  flush_products();
  flush_down();
  const bool mixes = pending_.mixture.y && !pending_.sum.data;
  if (mixes && same(out, pending_.mixed) && !pending_.mixture.shared.data) {
    pending_.mixture.shared = rows_of(x);
    return;
  }
  if (!(mixes && same(x, pending_.mixed))) flush();
  changes(out);
  pending_.addend = x;
  pending_.sum = out;
  if (!options_.fuse) flush();
}

void CudaBackend::causal_conv1d_silu(const StagedBatch& batch, ConstMatrix x, const Table& kernel, const Vector& bias,
                                     ConvState& state, Matrix out) {
  flush();
  changes(out);
  pending_.mamba = Pending::Mamba();
  Pending::Mamba& p = *pending_.mamba;
  p.convolved = out;
  p.step.x = rows_of(x);
  p.step.kernel = reinterpret_cast<const float*>(kernel.data.get());
  p.step.conv_bias = f32(bias);
  p.step.conv_state = reinterpret_cast<std::uint16_t*>(state.data.get());
  p.step.channels = state.channels;
  p.step.width = state.width;
  p.step.convolved = rows_of(out);
  const bool by_chunks = to_.wide && options_.fast && out.rows > kFewRows;  // convolution and scan together
  if (!is_single_step(batch) && !by_chunks) flush();
}

void CudaBackend::ssd_scan(const StagedBatch& batch, ConstMatrix xBC, ConstMatrix dt, const SsdParameters& p,
                           SsmState& state, Matrix out) {
  if (state.state_size > kMostStateSize)
    throw Error(ErrorCode::bad_model, "the cuda backend has no scan for a state of " +
                                          std::to_string(state.state_size) + " values a row; it takes up to " +
                                          std::to_string(kMostStateSize));
  const auto sequences = static_cast<std::int64_t>(batch.host.sequences.size());
  const ScanShape shape{state.heads, state.head_dim, state.state_size, p.groups, p.dt_min, p.dt_max};
  auto* states = reinterpret_cast<float*>(state.data.get());
  if (pending_.mamba && same(xBC, pending_.mamba->convolved) && !is_single_step(batch) &&
      fits_prefill_ssd(pending_.mamba->step.x, rows_of(out), shape, pending_.mamba->step.width) &&
      prefill_ssd_bytes(xBC.rows, sequences, shape) <= plan_->expert_out_bytes) {
    const MambaStep m = std::exchange(pending_.mamba, std::nullopt)->step;
    changes(out);
    const SsdInputs in{m.x,          m.kernel, m.conv_bias,    m.conv_state, rows_of(dt),
                       f32(p.A_log), f32(p.D), f32(p.dt_bias), states};
    // No expert is at work now, so what is theirs may be used. The convolved rows are kept there, rounded.
    return prefill_ssd(to_, device_batch(), xBC.rows, sequences, staged_spans_, in, shape,
                       scratch_.get() + plan_->expert_out, rows_of(out));
  }
  if (!pending_.mamba || !same(xBC, pending_.mamba->convolved) || !is_single_step(batch)) {
    flush();
    changes(out);
    const bool prompt = options_.prompts && xBC.rows > kFewRows && fits_prefill_scan(rows_of(xBC), shape);
    (prompt ? cuda::prefill_scan : cuda::ssd_scan)(to_, device_batch(), sequences, rows_of(xBC), rows_of(dt),
                                                   f32(p.A_log), f32(p.D), f32(p.dt_bias), shape, states, rows_of(out));
    return;
  }
  changes(out);
  Pending::Mamba& m = *pending_.mamba;
  m.y = out;
  m.sequences = sequences;
  m.scans = true;
  m.step.dt = rows_of(dt);
  m.step.A_log = f32(p.A_log);
  m.step.D = f32(p.D);
  m.step.dt_bias = f32(p.dt_bias);
  m.step.shape = shape;
  m.step.state = states;
  m.step.y = rows_of(out);
}

void CudaBackend::gated_rms_norm(ConstMatrix y, ConstMatrix z, const Vector& weight, std::int64_t groups, float eps,
                                 Matrix out) {
  if (pending_.mamba && pending_.mamba->scans && same(y, pending_.mamba->y) && same(out, y)) {
    MambaStep& m = pending_.mamba->step;
    m.z = rows_of(z);
    m.norm_weight = f32(weight);
    m.norm_groups = groups;
    m.eps = eps;
    m.out = rows_of(out);
    if (fits_mamba_step(m, pending_.mamba->sequences)) {
      changes(out);
      m.rounded = room_for(kInner, y.cols);
      const Pending::Mamba p = *std::exchange(pending_.mamba, std::nullopt);
      mamba_step(to_, device_batch(), p.sequences, p.step);
      return note_rounded(kInner, out);
    }
  }
  flush();
  changes(out);
  const bool prompt = options_.prompts && y.rows > kFewRows &&
                      fits_prefill_gated_norm(rows_of(y), rows_of(z), groups, y.cols, rows_of(out));
  (prompt ? prefill_gated_norm : cuda::gated_rms_norm)(to_, rows_of(y), rows_of(z), f32(weight), groups, eps, y.rows,
                                                       y.cols, rows_of(out),
                                                       room_for(kInner, y.cols, is_prompt(y.rows)));
  note_rounded(kInner, out, is_prompt(y.rows));
}

void CudaBackend::append_kv(const StagedBatch& batch, ConstMatrix k, ConstMatrix v, KvPages& cache) {
  flush();
  pending_.append.emplace(Pending::Append{k, v, cache_of(cache)});
  if (!is_single_step(batch)) flush();
}

void CudaBackend::attention(const StagedBatch& batch, ConstMatrix q, const KvPages& cache, float scale, Matrix out) {
  AttentionParts parts;
  if (q.rows <= plan_->attention_rows) {
    parts.values = reinterpret_cast<float*>(scratch_.get() + plan_->attention_values);
    parts.sums = reinterpret_cast<float2*>(scratch_.get() + plan_->attention_sums);
  }
  const std::int64_t heads = q.cols / cache.head_dim;
  if (pending_.append && pending_.append->cache.data == cache.data.get() && is_single_step(batch)) {
    AttentionStep a;
    a.q = rows_of(q);
    a.k = rows_of(pending_.append->k);
    a.v = rows_of(pending_.append->v);
    a.heads = static_cast<std::int32_t>(heads);
    a.cache = cache_of(cache);
    a.scale = scale;
    a.blocks = static_cast<std::int32_t>(attention_blocks());
    a.parts = parts;
    a.arrived = reinterpret_cast<unsigned*>(scratch_.get() + plan_->counters) + 1;
    a.out = rows_of(out);
    if (fits_attention_step(a) && out.cols <= plan_->rounded_stride) {
      flush_products();
      pending_.append.reset();
      changes(out);
      a.rounded = room_for(kInner, out.cols);
      attention_step(to_, device_batch(), q.rows, a);
      return note_rounded(kInner, out);
    }
  }
  flush();
  changes(out);
  const bool prompt =
      is_prompt(q.rows) && staged_long_ && fits_prefill_attention(cache_of(cache), rows_of(q), rows_of(out));
  if (prompt) {
    const RoundedRows rounded =
        staged_short_ || out.cols > plan_->rounded_stride ? RoundedRows{} : room_for(kInner, out.cols, true);
    prefill_attention(to_, device_batch(), staged_spans_, rows_of(q), heads, cache_of(cache), scale, rows_of(out),
                      rounded, options_.fast);
    if (rounded.data) return note_rounded(kInner, out, true);
  }
  cuda::attention(to_, device_batch(), q.rows, rows_of(q), heads, cache_of(cache), scale, attention_blocks(), parts,
                  rows_of(out), prompt ? kPrefillSequenceRows - 1 : kAnyRows);
}

void CudaBackend::route(ConstMatrix logits, const Vector& bias, const RouterParameters& p, Routing out) {
  if (logits.cols > kMostExperts || out.ids.cols > kMostChosen)
    throw Error(ErrorCode::bad_model, "the cuda backend routes among at most " + std::to_string(kMostExperts) +
                                          " experts, " + std::to_string(kMostChosen) + " a token; this model has " +
                                          std::to_string(logits.cols) + " and " + std::to_string(out.ids.cols));
  const RouterShape shape{logits.cols, out.ids.cols, p.groups, p.chosen_groups, p.normalize, p.scaling};
  auto* ids = reinterpret_cast<std::int32_t*>(out.ids.data);
  if (!pending_.router || !same(logits, pending_.router->logits) || pending_.router->chooses) {
    flush();
    changes(out.ids);
    changes(out.weights);
    cuda::route(to_, rows_of(logits), f32(bias), shape, logits.rows, ids, out.ids.stride, rows_of(out.weights));
    return;
  }
  changes(out.ids);
  changes(out.weights);
  Pending::Router& r = *pending_.router;
  r.chooses = true;
  r.routing = out;
  r.job.bias = f32(bias);
  r.job.shape = shape;
  r.job.ids = ids;
  r.job.ids_stride = out.ids.stride;
  r.job.weights = rows_of(out.weights);
  r.job.groups = group_memory();
  r.job.arrived = reinterpret_cast<unsigned*>(scratch_.get() + plan_->counters);
}

GroupMemory CudaBackend::group_memory() const {
  const auto at = [&](std::int64_t offset) { return reinterpret_cast<std::int32_t*>(scratch_.get() + offset); };
  return {at(plan_->pairs), at(plan_->item_expert), at(plan_->item_first), at(plan_->item_count), at(plan_->items)};
}

ExpertItems CudaBackend::group(const Routing& routing, std::int64_t experts, std::int64_t item_rows, bool grouped) {
  const std::int64_t rows = routing.ids.rows, chosen = routing.ids.cols, pairs = rows * chosen;
  const auto* ids = reinterpret_cast<const std::int32_t*>(routing.ids.data);
  ExpertItems items;
  items.pairs_per_row = chosen;
  if (rows == 1) {  // every choice is an item
    items.single = true;
    items.expert = ids;
    items.most_items = chosen;
    return items;
  }
  const GroupMemory memory = group_memory();
  if (!grouped) {
    const bool prompt = options_.prompts && rows > kFewRows;
    (prompt ? prefill_group_by_expert : group_by_expert)(to_, ids, routing.ids.stride, rows, chosen, experts, item_rows,
                                                         memory);
  }
  items.expert = memory.item_expert;
  items.first = memory.item_first;
  items.count = memory.item_count;
  items.pairs = memory.pairs;
  items.items = memory.items;
  items.most_items = std::min(pairs, experts + pairs / item_rows);
  return items;
}

void CudaBackend::launch_experts_up(ConstMatrix x, const Routing& routing, const PackedBank& up, const PackedBank& down,
                                    std::int64_t experts, Matrix out, bool grouped) {
  const std::int64_t pairs = x.rows * routing.ids.cols;
  const bool many = x.rows > kFewRows, prompt = is_prompt(x.rows) && fits_prefill(up) && fits_prefill(down);
  const Bf16Rows in = rounded(x, prompt);
  const bool few = prompt && options_.fast && are_few(pairs, experts);
  const std::int64_t item_rows = few      ? kPrefillFewRows
                                 : prompt ? prefill_item_rows(options_.fast)
                                 : many   ? kManyItemRows
                                          : kFewItemRows;
  ExpertItems items = group(routing, experts, item_rows, grouped);

  LinearOutput hidden;
  hidden.rounded = reinterpret_cast<std::uint16_t*>(scratch_.get() + plan_->hidden);
  hidden.rounded_stride = (up.rows + kTileCols - 1) / kTileCols * kTileCols;
  CHECK(hidden.rounded_stride <= plan_->hidden_stride && down.rows <= plan_->expert_out_stride &&
            pairs <= limits_.tokens * limits_.experts_per_token,
        "experts beyond what was reserved");
  hidden.relu_squared = true;
  if (hidden.rounded_stride != up.rows)  // columns past the last are read as 0
    CUDA_CHECK(
        cudaMemsetAsync(hidden.rounded, 0, static_cast<std::size_t>(pairs * hidden.rounded_stride * 2), stream_.get()));
  hidden.interleaved = prompt;
  if (few) {
    prefill_few_experts(to_, up, in, items, hidden);
  } else if (prompt) {  // rows of x and of `hidden` lie as the groups do; what the second matrices make comes later
    auto* const grouped_x = reinterpret_cast<std::uint16_t*>(scratch_.get() + plan_->expert_out);
    CHECK(in.stride <= 2 * plan_->expert_out_stride, "inputs wider than what was reserved");
    prefill_gather(to_, in, items.pairs, pairs, routing.ids.cols, grouped_x);
    ExpertItems groups = items;
    groups.pairs = nullptr;
    prefill_experts(to_, up, {grouped_x, in.stride}, pairs, groups, hidden, options_.fast);
  } else {
    expert_linear(to_, up, in, items, many, hidden);
  }

  pending_.down = Pending::Down();
  Pending::Down& d = *pending_.down;
  d.bank = down;
  d.x = {hidden.rounded, hidden.rounded_stride};
  d.items = items;
  d.items.pairs_per_row = 1;
  d.items.known =
      x.rows <= kFewItemRows;  // since before `up`; later rows are better read through the first-level cache
  d.each.out = reinterpret_cast<float*>(scratch_.get() + plan_->expert_out);
  d.each.stride = plan_->expert_out_stride;
  d.rows = x.rows;
  d.prompt = prompt;
  d.few = few;
  d.mixture = {d.each.out,  d.each.stride, rows_of(routing.weights), {}, static_cast<std::int32_t>(routing.ids.cols),
               rows_of(out)};
  pending_.mixed = out;
}

void CudaBackend::experts(ConstMatrix x, const Routing& routing, const Linear& up, const Linear& down, Matrix out) {
  const bool with_router = pending_.router && pending_.router->chooses && same(x, pending_.router->x) &&
                           same(routing.ids, pending_.router->routing.ids) && x.rows > 0 &&
                           fits_beside_linear(pending_.router->job, x.rows);
  if (!with_router) flush();
  changes(out);
  if (x.rows * routing.ids.cols == 0) return;
  if (with_router) {
    Pending::Router& r = *pending_.router;
    r.with_experts = true;
    r.up = own(up).bank;
    r.down = own(down).bank;
    r.experts = up.experts;
    r.out = out;
    return;
  }
  launch_experts_up(x, routing, own(up).bank, own(down).bank, up.experts, out, false);
  if (!options_.fuse) flush();
}

void CudaBackend::gather_logit_rows(const StagedBatch&, ConstMatrix x, Matrix out) {
  flush();
  changes(out);
  cuda::gather_logit_rows(to_, device_batch(), rows_of(x), out.rows, out.cols, rows_of(out));
}

}  // namespace strata
