#include "apps/step_timer.h"

#include <algorithm>

#include "base/check.h"

namespace strata {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kSampleWords = 2 + 2 * kMaxTopLogprobs;  // of a row

}  // namespace

StepTimer::StepTimer(const Model& model, Backend& backend, const Limits& limits)
    : model_(model),
      backend_(backend),
      limits_(limits),
      pool_(backend, {model.state_shape(), backend.state_types(limits.kv_type)}, limits.sequences,
            limits.sequences * StateLayout::pages_for(limits.context)),
      workspace_(backend, model.workspace_bytes(std::max(limits.chunk, limits.sequences), limits.sequences)),
      logits_(backend.allocate(limits.sequences * model.vocab_size() * size_of(DType::f32))),
      samples_(backend.allocate(limits.sequences * kSampleWords * size_of(DType::f32))) {
  WorkLimits work = model.work_limits();
  work.tokens = std::max(limits.chunk, limits.sequences);
  work.logit_rows = work.sequences = work.slots = limits.sequences;
  work.context = limits.context;
  backend.reserve(work);
}

StepTimer::Seconds StepTimer::measure(std::int64_t sequences, std::int64_t depth, std::int64_t prompt,
                                      std::int64_t generated) {
  std::vector<SequenceState> states;
  for (std::int64_t i = 0; i < sequences; ++i) {
    auto state = pool_.acquire();
    CHECK(state && pool_.reserve(*state, depth + prompt + generated), "room for every sequence");
    states.push_back(std::move(*state));
    feed(states.back(), depth);
  }
  const auto start = Clock::now();
  for (SequenceState& state : states) feed(state, prompt);
  const auto middle = Clock::now();
  for (std::int64_t i = 0; i < generated; ++i) step(states, 1, true);
  const auto end = Clock::now();
  return {std::chrono::duration<double>(middle - start).count(), std::chrono::duration<double>(end - middle).count()};
}

void StepTimer::feed(SequenceState& state, std::int64_t count) {
  for (std::int64_t left = count; left > 0;) {
    const std::int64_t rows = std::min(left, limits_.chunk);
    left -= rows;
    step({&state, 1}, rows, left == 0);
  }
}

void StepTimer::step(std::span<SequenceState> states, std::int64_t count, bool sampled) {
  const auto sequences = static_cast<std::int64_t>(states.size());
  tokens_.resize(static_cast<std::size_t>(sequences * count));
  for (TokenId& t : tokens_) t = static_cast<TokenId>(random_() % static_cast<std::uint64_t>(model_.vocab_size()));
  rows_.clear();
  logit_rows_.clear();
  for (std::int64_t i = 0; i < sequences; ++i) {
    rows_.push_back(states[static_cast<std::size_t>(i)].rows(i * count, count));
    if (sampled) logit_rows_.push_back(static_cast<std::int32_t>((i + 1) * count - 1));
  }
  const StagedBatch batch = backend_.stage({tokens_, rows_, logit_rows_});
  const Matrix logits{logits_.get(), DType::f32, sampled ? sequences : 0, model_.vocab_size(), model_.vocab_size()};
  const auto body = [&] {
    Workspace::Scope scope(workspace_);
    model_.forward({backend_, workspace_, batch, pool_.layers()}, logits);
  };
  if (count == 1) {
    backend_.run(static_cast<std::uint64_t>(sequences), body);
  } else {
    body();
  }
  for (SequenceState& state : states) state.advance(count);
  if (sampled) sample(batch, logits, static_cast<std::uint64_t>(states.front().length()));
  backend_.wait(backend_.mark());
}

void StepTimer::sample(const StagedBatch& batch, Matrix logits, std::uint64_t position) {
  sampling_rows_.assign(static_cast<std::size_t>(logits.rows), {.parameters = &greedy_, .position = position});
  std::byte* at = samples_.get();
  constexpr std::int64_t kTop = kMaxTopLogprobs;
  const std::int64_t rows = logits.rows;
  const auto column = [&](DType type, std::int64_t width) {
    const Matrix matrix{at, type, rows, width, width};
    at += rows * width * size_of(type);
    return matrix;
  };
  Samples samples;
  samples.tokens = column(DType::i32, 1);
  samples.logprobs = column(DType::f32, 1);
  samples.top_ids = column(DType::i32, kTop);
  samples.top_logprobs = column(DType::f32, kTop);
  backend_.sample(batch, logits, sampling_rows_, samples);
  backend_.wait(backend_.mark());
  tokens_.resize(static_cast<std::size_t>(rows));
  backend_.download(samples.tokens.data, std::as_writable_bytes(std::span(tokens_)));
}

}  // namespace strata
