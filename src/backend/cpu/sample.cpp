// From the last hidden states to chosen tokens.
#include <cstring>

#include "backend/cpu/cpu_backend.h"

namespace strata {

void CpuBackend::gather_logit_rows(const StagedBatch& batch, ConstMatrix x, Matrix out) {
  const auto rows = batch.host.logit_rows;
  CHECK(out.rows == static_cast<std::int64_t>(rows.size()) && out.cols == x.cols, "gather_logit_rows: shape");
  for (std::int64_t r = 0; r < out.rows; ++r)
    std::memcpy(out.row<float>(r), x.row<float>(rows[static_cast<std::size_t>(r)]),
                static_cast<std::size_t>(x.cols) * sizeof(float));
}

void CpuBackend::sample(const StagedBatch& batch, ConstMatrix logits, std::span<const SamplingRow> rows,
                        const Samples& out) {
  const Scratch& s = scratch();
  CHECK(logits.rows == static_cast<std::int64_t>(rows.size()) && rows.size() == batch.host.logit_rows.size() &&
            out.tokens.rows == logits.rows && out.logprobs.rows == logits.rows && out.top_ids.rows == logits.rows &&
            out.top_logprobs.rows == logits.rows,
        "sample: shape");
  pool_.run(logits.rows, [&](std::int64_t r, int) {
    const auto i = static_cast<std::size_t>(r);
    const SampledToken chosen =
        sample_row({logits.row<float>(r), static_cast<std::size_t>(logits.cols)}, rows[i],
                   {out.top_ids.row<std::int32_t>(r), static_cast<std::size_t>(out.top_ids.cols)},
                   {out.top_logprobs.row<float>(r), static_cast<std::size_t>(out.top_logprobs.cols)});
    out.tokens.row<std::int32_t>(r)[0] = chosen.token;
    out.logprobs.row<float>(r)[0] = chosen.logprob;
  });
  // Ascending, so that the last of a sequence's rows decides.
  for (std::int64_t r = 0; r < logits.rows; ++r) {
    const std::int32_t slot = sequence_of_row(batch.host, batch.host.logit_rows[static_cast<std::size_t>(r)]).slot;
    CHECK(0 <= slot && slot < s.limits.slots, "a slot that reserve() was not told");
    s.last_tokens[slot] = out.tokens.row<std::int32_t>(r)[0];
  }
}

}  // namespace strata
