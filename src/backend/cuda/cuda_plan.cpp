#include "backend/cuda/cuda_plan.h"

#include <algorithm>

#include "backend/cuda/kernels/attention_step.h"
#include "backend/cuda/kernels/device_batch.h"
#include "backend/cuda/kernels/packed.h"
#include "backend/cuda/kernels/prefill_scan.h"
#include "backend/cuda/kernels/sample.h"

namespace strata {
namespace {

std::int64_t padded(std::int64_t cols) { return (cols + cuda::kTileCols - 1) / cuda::kTileCols * cuda::kTileCols; }

}  // namespace

CudaPlan::CudaPlan(const WorkLimits& l, bool fast) {
  const auto take = [&](std::int64_t n) {
    const std::int64_t at = bytes;
    bytes += (n + 255) / 256 * 256;
    return at;
  };
  constexpr std::int64_t kPageTokens = 64;
  const std::int64_t pages = l.sequences * ((l.context + kPageTokens - 1) / kPageTokens + 1);
  const std::int64_t spans = l.sequences + l.tokens / cuda::kSpanRows + 1;
  batch_bytes = static_cast<std::int64_t>(sizeof(cuda::BatchHeader)) +
                l.sequences * static_cast<std::int64_t>(sizeof(cuda::DeviceSequence)) +
                spans * static_cast<std::int64_t>(sizeof(cuda::Span)) + 8 * l.tokens + 4 * l.logit_rows + 4 * pages +
                256;
  batch = take(batch_bytes);
  samples = take(l.logit_rows * static_cast<std::int64_t>(sizeof(cuda::SampleRow)));
  maxima = take(l.logit_rows * cuda::sample_maxima(kMostVocab) * 4);
  rounded_stride = padded(l.features);
  for (std::int64_t& at : rounded) at = take(std::max(l.tokens, l.logit_rows) * rounded_stride * 2);
  const std::int64_t most_pairs = l.tokens * l.experts_per_token;
  pairs = take(most_pairs * 4);
  item_expert = take(most_pairs * 4);
  item_first = take(most_pairs * 4);
  item_count = take(most_pairs * 4);
  items = take(4);
  hidden_stride = padded(l.expert_features);
  hidden = take(most_pairs * hidden_stride * 2);
  expert_out_stride = most_pairs > 0 ? padded(l.features) : 0;
  expert_out_bytes = most_pairs * expert_out_stride * 4;
  if (fast) expert_out_bytes = std::max(expert_out_bytes, cuda::most_ssd_bytes(l.tokens, l.sequences, l.features));
  expert_out = take(expert_out_bytes);
  attention_rows = std::min(l.sequences, kSplitRows);
  attention_blocks = (l.context + cuda::kBlockKeys - 1) / cuda::kBlockKeys;
  if (attention_blocks <= 1) attention_rows = 0;
  attention_values = take(attention_rows * attention_blocks * l.features * 4);
  attention_sums = take(attention_rows * attention_blocks * l.features / 16);
  // Key heads that the kernel with counters takes have 128 values.
  counters = take(4 + cuda::attention_counters(attention_rows, l.features / cuda::kMostHeadDim) * 4);
}

}  // namespace strata
