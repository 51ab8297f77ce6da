// Ops as launches. Some wait for the next one: a sum for the norm that reads it, products for more of the same input or
// for the relu^2 of their output. What waits is launched before anything else could see that it has not been.
#include <algorithm>
#include <string>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/kernels/mamba.h"
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

void CudaBackend::flush_products() {
  if (pending_.products.empty()) return;
  const std::int64_t rows = pending_.input.rows;
  const Bf16Rows x = rounded(pending_.input);
  for (LinearJob& job : pending_.products) job.x = x;
  cuda::linear(to_, pending_.products.data(), static_cast<int>(pending_.products.size()), rows);
  pending_.products.clear();
  pending_.outputs.clear();
}

void CudaBackend::flush() {
  flush_products();
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
  const Rows in{const_cast<float*>(reinterpret_cast<const float*>(x.data)), x.stride};  // written only if it is a sum
  add_rms_norm(to_, sum.data ? rows_of(pending_.addend) : ConstRows{}, mixture, in, f32(weight), eps, x.rows, x.cols,
               rows_of(out), room_for(kNormed, x.cols));
  note_rounded(kNormed, out);
}

void CudaBackend::linear(ConstMatrix x, const Linear& w, Matrix out) {
  CHECK(x.cols == w.in_features && out.cols == w.out_features && x.rows == out.rows, "shapes of a linear layer");
  if (x.rows == 0) return;
  const bool joins = options_.fuse && !pending_.products.empty() && pending_.products.size() < kMostProducts &&
                     same(pending_.input, x) && x.rows <= kFewRows;
  if (pending_.sum.data || same(x, pending_.mixed) || same(out, pending_.mixed)) flush();
  if (!joins) flush_products();
  if (pending_.products.empty()) pending_.input = x;
  changes(out);
  LinearOutput output;
  output.out = rows_of(out).data;
  output.stride = out.stride;
  pending_.products.push_back({own(w).bank, {}, output});
  pending_.outputs.push_back(out);
  if (!options_.fuse) flush();
}

void CudaBackend::relu_squared(ConstMatrix x, Matrix out) {
  if (!pending_.products.empty() && same(pending_.outputs.back(), x) && same(out, x)) {
    LinearOutput& to = pending_.products.back().out;
    to.relu_squared = true;
    if (out.cols % kTileCols == 0) {
      rounded(pending_.input);  // first: it may take memory that is given away here
      const RoundedRows hidden = room_for(kHidden, out.cols);
      to.rounded = hidden.data;
      to.rounded_stride = hidden.stride;
      flush_products();
      note_rounded(kHidden, out);
    }
    return flush_products();
  }
  flush();
  changes(out);
  cuda::relu_squared(to_, rows_of(x), out.rows, out.cols, rows_of(out));
}

void CudaBackend::linear_f32(ConstMatrix x, const Table& w, Matrix out) {
  flush();
  changes(out);
  CHECK(x.cols == w.cols && out.cols == w.rows && x.rows == out.rows, "shapes of a linear layer");
  cuda::linear_f32(to_, rows_of(x), reinterpret_cast<const float*>(w.data.get()), x.rows, x.cols, w.rows, rows_of(out));
}

void CudaBackend::add(ConstMatrix x, Matrix out) {
  flush_products();
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

void CudaBackend::causal_conv1d_silu(const StagedBatch&, ConstMatrix x, const Table& kernel, const Vector& bias,
                                     ConvState& state, Matrix out) {
  flush();
  changes(out);
  cuda::causal_conv1d_silu(
      to_, device_batch(), staged_spans_, rows_of(x), reinterpret_cast<const float*>(kernel.data.get()), f32(bias),
      reinterpret_cast<std::uint16_t*>(state.data.get()), state.channels, state.width, rows_of(out));
}

void CudaBackend::ssd_scan(const StagedBatch& batch, ConstMatrix xBC, ConstMatrix dt, const SsdParameters& p,
                           SsmState& state, Matrix out) {
  flush();
  changes(out);
  if (state.state_size > kMostStateSize)
    throw Error(ErrorCode::bad_model, "the cuda backend has no scan for a state of " +
                                          std::to_string(state.state_size) + " values a row; it takes up to " +
                                          std::to_string(kMostStateSize));
  cuda::ssd_scan(to_, device_batch(), static_cast<std::int64_t>(batch.host.sequences.size()), rows_of(xBC), rows_of(dt),
                 f32(p.A_log), f32(p.D), f32(p.dt_bias),
                 {state.heads, state.head_dim, state.state_size, p.groups, p.dt_min, p.dt_max},
                 reinterpret_cast<float*>(state.data.get()), rows_of(out));
}

void CudaBackend::gated_rms_norm(ConstMatrix y, ConstMatrix z, const Vector& weight, std::int64_t groups, float eps,
                                 Matrix out) {
  flush();
  changes(out);
  cuda::gated_rms_norm(to_, rows_of(y), rows_of(z), f32(weight), groups, eps, y.rows, y.cols, rows_of(out),
                       room_for(kGated, y.cols));
  note_rounded(kGated, out);
}

void CudaBackend::append_kv(const StagedBatch&, ConstMatrix k, ConstMatrix v, KvPages& cache) {
  flush();
  cuda::append_kv(to_, device_batch(), k.rows, rows_of(k), rows_of(v), cache_of(cache));
}

void CudaBackend::attention(const StagedBatch&, ConstMatrix q, const KvPages& cache, float scale, Matrix out) {
  flush();
  changes(out);
  AttentionParts parts;
  if (q.rows <= plan_->attention_rows) {
    parts.values = reinterpret_cast<float*>(scratch_.get() + plan_->attention_values);
    parts.sums = reinterpret_cast<float2*>(scratch_.get() + plan_->attention_sums);
  }
  cuda::attention(to_, device_batch(), q.rows, rows_of(q), q.cols / cache.head_dim, cache_of(cache), scale,
                  attention_blocks(), parts, rows_of(out));
}

void CudaBackend::route(ConstMatrix logits, const Vector& bias, const RouterParameters& p, Routing out) {
  flush();
  changes(out.ids);
  changes(out.weights);
  if (logits.cols > kMostExperts || out.ids.cols > kMostChosen)
    throw Error(ErrorCode::bad_model, "the cuda backend routes among at most " + std::to_string(kMostExperts) +
                                          " experts, " + std::to_string(kMostChosen) + " a token; this model has " +
                                          std::to_string(logits.cols) + " and " + std::to_string(out.ids.cols));
  cuda::route(to_, rows_of(logits), f32(bias),
              {logits.cols, out.ids.cols, p.groups, p.chosen_groups, p.normalize, p.scaling}, logits.rows,
              reinterpret_cast<std::int32_t*>(out.ids.data), out.ids.stride, rows_of(out.weights));
}

ExpertItems CudaBackend::group(const Routing& routing, std::int64_t experts, std::int64_t item_rows) {
  const std::int64_t rows = routing.ids.rows, chosen = routing.ids.cols, pairs = rows * chosen;
  const auto* ids = reinterpret_cast<const std::int32_t*>(routing.ids.data);
  ExpertItems items;
  items.pairs_per_row = chosen;
  if (rows == 1 && chosen == limits_.experts_per_token) {  // every choice is an item
    const auto* counting = reinterpret_cast<const std::int32_t*>(counting_.get());
    items.expert = ids;
    items.first = items.pairs = counting;
    items.count = counting + chosen;
    items.items = counting + 2 * chosen;
    items.most_items = chosen;
    return items;
  }
  const auto at = [&](std::int64_t offset) { return reinterpret_cast<std::int32_t*>(scratch_.get() + offset); };
  const GroupMemory memory{at(plan_->pairs), at(plan_->item_expert), at(plan_->item_first), at(plan_->item_count),
                           at(plan_->items)};
  group_by_expert(to_, ids, routing.ids.stride, rows, chosen, experts, item_rows, memory);
  items.expert = memory.item_expert;
  items.first = memory.item_first;
  items.count = memory.item_count;
  items.pairs = memory.pairs;
  items.items = memory.items;
  items.most_items = std::min(pairs, experts + pairs / item_rows);
  return items;
}

void CudaBackend::experts(ConstMatrix x, const Routing& routing, const Linear& up, const Linear& down, Matrix out) {
  flush();
  changes(out);
  const std::int64_t pairs = x.rows * routing.ids.cols;
  if (pairs == 0) return;
  const bool many = x.rows > kFewRows;
  const PackedBank &up_bank = own(up).bank, &down_bank = own(down).bank;
  const Bf16Rows in = rounded(x);
  ExpertItems items = group(routing, up.experts, many ? kManyItemRows : kFewItemRows);

  LinearOutput hidden;
  hidden.rounded = reinterpret_cast<std::uint16_t*>(scratch_.get() + plan_->hidden);
  hidden.rounded_stride = (up.out_features + kTileCols - 1) / kTileCols * kTileCols;
  CHECK(hidden.rounded_stride <= plan_->hidden_stride && down.out_features <= plan_->expert_out_stride &&
            pairs <= limits_.tokens * limits_.experts_per_token,
        "experts beyond what was reserved");
  hidden.relu_squared = true;
  if (hidden.rounded_stride != up.out_features)  // columns past the last are read as 0
    CUDA_CHECK(
        cudaMemsetAsync(hidden.rounded, 0, static_cast<std::size_t>(pairs * hidden.rounded_stride * 2), stream_.get()));
  expert_linear(to_, up_bank, in, items, many, hidden);

  items.pairs_per_row = 1;
  LinearOutput each;
  each.out = reinterpret_cast<float*>(scratch_.get() + plan_->expert_out);
  each.stride = plan_->expert_out_stride;
  expert_linear(to_, down_bank, {hidden.rounded, hidden.rounded_stride}, items, many, each);
  pending_.mixture = {
      each.out, each.stride, rows_of(routing.weights), {}, static_cast<std::int32_t>(routing.ids.cols), rows_of(out)};
  pending_.mixed = out;
  if (!options_.fuse) flush();
}

void CudaBackend::gather_logit_rows(const StagedBatch&, ConstMatrix x, Matrix out) {
  flush();
  changes(out);
  cuda::gather_logit_rows(to_, device_batch(), rows_of(x), out.rows, out.cols, rows_of(out));
}

}  // namespace strata
