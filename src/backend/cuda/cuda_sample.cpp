// Sampling: greedy rows and plain draws are chosen on the GPU. Rows with top-k, top-p, min-p, penalties, biases, masks
// or log probabilities are chosen on the host by sample_row itself, which costs a wait for the logits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cuda/cuda_backend.h"

namespace strata {

using namespace cuda;

namespace {

bool is_greedy(const SamplingParameters& p) { return p.temperature == 0 || p.top_k == 1; }

bool needs_host(const SamplingRow& row, std::int64_t vocab) {
  const SamplingParameters& p = *row.parameters;
  if (row.given >= 0 || !row.allowed.empty() || p.needs_history() || !p.logit_bias.empty() || p.logprobs ||
      p.top_logprobs > 0)
    return true;
  return !is_greedy(p) && ((p.top_k > 0 && p.top_k < vocab) || p.top_p < 1 || p.min_p > 0);
}

}  // namespace

SampleRow CudaBackend::host_choice(ConstMatrix logits, std::int64_t row, const SamplingRow& wishes) {
  host_logits_.resize(static_cast<std::size_t>(logits.cols));
  CUDA_CHECK(cudaMemcpyAsync(host_logits_.data(), logits.row<float>(row), host_logits_.size() * sizeof(float),
                             cudaMemcpyDeviceToHost, stream_.get()));
  CUDA_CHECK(cudaStreamSynchronize(stream_.get()));
  SampleRow made;
  made.choice = SampleRow::Choice::made;
  made.tops = wishes.parameters->top_logprobs;
  const SampledToken chosen = sample_row(host_logits_, wishes, made.top_ids, made.top_logprobs);
  made.token = chosen.token;
  made.logprob = chosen.logprob;
  return made;
}

void CudaBackend::sample(const StagedBatch& batch, ConstMatrix logits, std::span<const SamplingRow> rows,
                         const Samples& out) {
  flush();
  if (rows.empty()) return;
  CHECK(logits.cols <= kMostVocab && std::ssize(rows) <= limits_.logit_rows, "logits beyond what was reserved");
  std::vector<SampleRow> made(rows.size());
  auto sequence = batch.host.sequences.begin();
  std::int32_t last_slot = -1;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const SamplingParameters& p = *rows[r].parameters;
    SampleRow& row = made[r];
    if (needs_host(rows[r], logits.cols)) {
      row = host_choice(logits, static_cast<std::int64_t>(r), rows[r]);
    } else if (!is_greedy(p)) {
      row.choice = SampleRow::Choice::draw;
      row.scale = std::min(1 / p.temperature, std::numeric_limits<float>::max());
      row.uniform = uniform(p.seed, rows[r].position);
    }
    while (sequence->first_row + sequence->count <= batch.host.logit_rows[r]) ++sequence;
    row.slot = sequence->slot;
    if (r > 0 && last_slot == row.slot) made[r - 1].slot = -1;  // a sequence's last row is the one it remembers
    last_slot = row.slot;
  }
  StagingBlock& block = next_block();
  std::memcpy(block.memory.get(), made.data(), made.size() * sizeof(SampleRow));
  auto* device = reinterpret_cast<SampleRow*>(scratch_.get() + plan_->samples);
  CUDA_CHECK(cudaMemcpyAsync(device, block.memory.get(), made.size() * sizeof(SampleRow), cudaMemcpyHostToDevice,
                             stream_.get()));
  CUDA_CHECK(cudaEventRecord(block.copied.get(), stream_.get()));
  SampleOutput to;
  to.tokens = reinterpret_cast<std::int32_t*>(out.tokens.data);
  to.logprobs = reinterpret_cast<float*>(out.logprobs.data);
  to.top_ids = reinterpret_cast<std::int32_t*>(out.top_ids.data);
  to.top_logprobs = reinterpret_cast<float*>(out.top_logprobs.data);
  to.tokens_stride = out.tokens.stride;
  to.logprobs_stride = out.logprobs.stride;
  to.top_ids_stride = out.top_ids.stride;
  to.top_logprobs_stride = out.top_logprobs.stride;
  cuda::sample(to_, device, static_cast<std::int64_t>(rows.size()), reinterpret_cast<const float*>(logits.data),
               logits.stride, logits.cols, reinterpret_cast<float*>(scratch_.get() + plan_->maxima),
               reinterpret_cast<std::int32_t*>(last_tokens_.get()), to);

  const std::size_t event = next_sampled_;
  next_sampled_ = (next_sampled_ + 1) % kEvents;
  CUDA_CHECK(cudaEventRecord(sampled_events_[event].get(), stream_.get()));
  std::erase_if(sampled_, [&](const SampledBuffers& s) { return s.event == event || s.at[0] == out.tokens.data; });
  sampled_.push_back({{out.tokens.data, out.logprobs.data, out.top_ids.data, out.top_logprobs.data}, event});
}

}  // namespace strata
