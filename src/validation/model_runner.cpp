#include "validation/model_runner.h"

#include <algorithm>
#include <cstring>

namespace strata {
namespace {

/// The logits of a step, all of whose rows may be asked for, and what the model itself takes.
std::int64_t workspace_bytes(const Model& model, std::int64_t tokens) {
  return model.workspace_bytes(tokens, tokens) + Workspace::bytes_for(tokens, model.vocab_size());
}

}  // namespace

void Logits::append(const Logits& more) {
  CHECK(rows == 0 || vocab == more.vocab, "logits of one vocabulary");
  rows += more.rows;
  vocab = more.vocab;
  values.insert(values.end(), more.values.begin(), more.values.end());
}

bool Logits::same_bits(const Logits& other) const {
  return rows == other.rows && vocab == other.vocab &&
         std::memcmp(values.data(), other.values.data(), values.size() * sizeof(float)) == 0;
}

TokenId largest(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

ModelRunner::ModelRunner(const Model& model, Backend& backend, const RunnerLimits& limits)
    : model_(model),
      backend_(backend),
      limits_(limits),
      pool_(backend, {model.state_shape(), backend.state_types(limits.kv_type)}, limits.sequences,
            limits.sequences * StateLayout::pages_for(limits.context)),
      workspace_(backend, workspace_bytes(model, limits.tokens)) {
  WorkLimits work = model.work_limits();
  work.tokens = limits.tokens;
  work.logit_rows = limits.tokens;
  work.sequences = work.slots = limits.sequences;
  work.context = limits.context;
  backend.reserve(work);
}

SequenceState ModelRunner::fresh() {
  auto state = pool_.acquire();
  CHECK(state && pool_.reserve(*state, limits_.context), "more sequences than the runner was made for");
  return std::move(*state);
}

Logits ModelRunner::step(std::span<const Work> work, Probe* probe) {
  std::vector<TokenId> tokens;
  std::vector<SequenceRows> rows;
  for (const Work& w : work) {
    rows.push_back(w.state->rows(std::ssize(tokens), std::ssize(w.tokens)));
    tokens.insert(tokens.end(), w.tokens.begin(), w.tokens.end());
  }
  std::vector<std::int32_t> logit_rows(tokens.size());
  for (std::size_t r = 0; r < logit_rows.size(); ++r) logit_rows[r] = static_cast<std::int32_t>(r);

  const StagedBatch batch = backend_.stage({tokens, rows, logit_rows});
  Workspace::Scope scope(workspace_);
  const Matrix logits = workspace_.take(std::ssize(tokens), model_.vocab_size());
  model_.forward({backend_, workspace_, batch, pool_.layers(), probe}, logits);
  for (const Work& w : work) w.state->advance(std::ssize(w.tokens));

  Logits out{logits.rows, logits.cols, std::vector<float>(static_cast<std::size_t>(logits.rows * logits.cols))};
  backend_.wait(backend_.mark());
  backend_.download(logits.data, std::as_writable_bytes(std::span(out.values)));
  return out;
}

Logits ModelRunner::feed(SequenceState& state, std::span<const TokenId> tokens, std::int64_t chunk, Probe* probe) {
  Logits all;
  for (std::size_t at = 0; at < tokens.size();) {
    const std::size_t count = std::min(static_cast<std::size_t>(std::min(chunk, limits_.tokens)), tokens.size() - at);
    const Work work{&state, tokens.subspan(at, count)};
    all.append(step({&work, 1}, probe));
    at += count;
  }
  return all;
}

std::vector<TokenId> ModelRunner::greedy(std::span<const TokenId> prompt, std::int64_t count) {
  SequenceState state = fresh();
  Logits logits = feed(state, prompt, limits_.tokens);
  std::vector<TokenId> answer;
  while (std::ssize(answer) < count) {
    answer.push_back(largest(logits.row(logits.rows - 1)));
    logits = feed(state, {&answer.back(), 1}, 1);
  }
  return answer;
}

}  // namespace strata
