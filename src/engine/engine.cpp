// The loop: a step is enqueued before the tokens of the one before it are known on the host.
#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"
#include "engine/engine_impl.h"

namespace strata {

bool Engine::Impl::step() {
  const bool worked = turn();
  if (worked) publish();
  return worked;
}

/// One turn: what arrived, one step more in flight if one can be formed, and the tokens of the oldest step once as many
/// are in flight as may be, or no other can be formed without them.
bool Engine::Impl::turn() {
  bool changed = take_requests();
  changed |= admit();
  changed |= make_room();
  const bool enqueued = enqueue();
  if (in_flight_.empty()) return changed || enqueued;
  if (!enqueued || in_flight_.size() == static_cast<std::size_t>(options_.steps_in_flight)) collect();
  return true;
}

/// Enqueues the scheduler's next step; false if there is none. An error ends the requests that have rows in it. What of
/// it was enqueued may still run, but before anything that is enqueued later: so their slots and pages are free.
bool Engine::Impl::enqueue() {
  if (in_flight_.size() == static_cast<std::size_t>(options_.steps_in_flight)) return false;
  const std::vector<ScheduledRows> plan = scheduler_.next(pace_.prompt_tokens());
  if (plan.empty()) return false;
  StepInFlight step;
  try {
    build_batch(plan, step);
    if (rows_.empty()) return true;  // its requests failed
    forward(step);
    remember_snapshots(step);
    next_buffers_ = (next_buffers_ + 1) % sample_buffers_.size();
    in_flight_.push_back(std::move(step));
  } catch (const std::exception& e) {
    end_all(step.sequences, FinishReason::failed, e.what());
  }
  return true;
}

void Engine::Impl::forward(StepInFlight& step) {
  const StagedBatch staged = backend_.stage({tokens_, rows_, logit_rows_});
  const auto sampled = static_cast<std::int64_t>(logit_rows_.size()), vocab = model_.vocab_size();
  const Matrix logits{logits_.get(), DType::f32, sampled, vocab, vocab};
  const auto body = [&] { model_.forward({backend_, workspace_, staged, pool_.layers()}, logits); };
  // Steps in which every sequence has one token differ only in how many there are, so those can be replayed.
  const bool decodes_only = tokens_.size() == rows_.size() && logit_rows_.size() == rows_.size();
  if (decodes_only) {
    backend_.run(run_keys_ + rows_.size(), body);
  } else {
    body();
  }
  if (sampled > 0) {
    step.buffers = next_buffers_;
    const SampleBuffers& out = sample_buffers_[step.buffers];
    backend_.sample(staged, logits, sampling_rows_,
                    {{out.chosen.get(), DType::i32, sampled, 1, 1},
                     {out.chosen.get() + sampled * size_of(DType::i32), DType::f32, sampled, 1, 1},
                     {out.top_ids.get(), DType::i32, sampled, kMaxTopLogprobs, kMaxTopLogprobs},
                     {out.top_logprobs.get(), DType::f32, sampled, kMaxTopLogprobs, kMaxTopLogprobs}});
  }
  step.mark = backend_.mark();
  ++counters_.steps;
  const auto bucket = std::lower_bound(kStepTokenBounds.begin(), kStepTokenBounds.end(), std::ssize(tokens_));
  ++counters_.step_tokens[static_cast<std::size_t>(bucket - kStepTokenBounds.begin())];
}

/// The plan as one ragged batch, and how its logit rows are sampled. A request whose constraints leave it no token
/// ends.
void Engine::Impl::build_batch(const std::vector<ScheduledRows>& plan, StepInFlight& step) {
  tokens_.clear();
  rows_.clear();
  logit_rows_.clear();
  sampling_rows_.clear();
  masks_used_ = 0;
  for (const ScheduledRows& planned : plan) {
    const std::shared_ptr<Sequence> sequence = running_.at(planned.request);
    add_rows(planned, sequence, step);
  }
}

void Engine::Impl::add_rows(const ScheduledRows& planned, const std::shared_ptr<Sequence>& sequence,
                            StepInFlight& step) {
  const std::vector<TokenId>&prompt = sequence->request.prompt, &answer = sequence->answer;
  std::span<const std::uint32_t> allowed;
  if (planned.samples && !restrict_next(*sequence, allowed)) return;

  SequenceState& state = *sequence->state;
  const auto first_row = std::ssize(tokens_), prompt_tokens = sequence->prompt_tokens();
  rows_.push_back(state.rows(first_row, planned.count));
  step.sequences.push_back(sequence);
  if (state.length() < prompt_tokens) {
    const auto first = prompt.begin() + state.length();
    tokens_.insert(tokens_.end(), first, first + planned.count);
    counters_.prompt_tokens += planned.count;
    step.prompt_tokens += planned.count;
    if (sequence->request.on_progress) step.progress.push_back({sequence, state.length() + planned.count});
    for (std::int64_t i = 0; sequence->request.prompt_logprobs && i < planned.count; ++i) {
      const std::int64_t next = state.length() + i + 1;
      if (next == prompt_tokens) break;
      SamplingRow given{.parameters = &sequence->prompt_sampling, .position = static_cast<std::uint64_t>(next)};
      given.given = prompt[static_cast<std::size_t>(next)];
      add_logit_row(sequence, first_row + i, given, next, step);
    }
  } else {
    ++step.decodes;
    const bool known = sequence->enqueued == std::ssize(answer);
    tokens_.push_back(known ? answer.back() : kTokenOfLastStep);
  }
  state.advance(planned.count);
  if (!planned.samples) return;

  const auto position = static_cast<std::uint64_t>(prompt_tokens + sequence->enqueued);
  add_logit_row(sequence, std::ssize(tokens_) - 1, {&sequence->request.sampling, position, prompt, answer, allowed}, -1,
                step);
  ++sequence->enqueued;
  if (sequence->needs_last_token() || sequence->enqueued >= sequence->limit) scheduler_.hold(sequence->id, true);
}

void Engine::Impl::add_logit_row(const std::shared_ptr<Sequence>& sequence, std::int64_t row,
                                 const SamplingRow& sampling, std::int64_t prompt_index, StepInFlight& step) {
  logit_rows_.push_back(static_cast<std::int32_t>(row));
  sampling_rows_.push_back(sampling);
  step.sampled.push_back({sequence, prompt_index});
}

/// What the sequence's constraints allow next, if they forbid anything. False if that is nothing: it has ended then.
bool Engine::Impl::restrict_next(Sequence& sequence, std::span<const std::uint32_t>& allowed) {
  if (sequence.request.constraints.empty() || sequence.limit == 0) return true;
  const std::int64_t vocab = model_.vocab_size();
  const std::size_t words = mask_words(vocab);
  const auto mask = std::span(masks_).subspan(masks_used_ * words, words);
  std::fill(mask.begin(), mask.end(), ~std::uint32_t{0});
  if (vocab % 32 != 0) mask.back() = (std::uint32_t{1} << vocab % 32) - 1;
  bool restricted = false;
  const auto begun = std::chrono::steady_clock::now();
  try {
    for (const auto& constraint : sequence.request.constraints) restricted |= constraint->restrict(mask);
    counters_.mask_times.add(std::chrono::steady_clock::now() - begun);
  } catch (const std::exception& e) {
    end(sequence, {.finish = FinishReason::failed, .error = e.what()});
    return false;
  }
  if (!restricted) return true;
  if (std::all_of(mask.begin(), mask.end(), [](std::uint32_t word) { return word == 0; })) {
    const std::string error =
        "no token may come after the " + std::to_string(sequence.answer.size()) +
        " of the answer: the request's constraints exclude each other; ask for fewer of them at once";
    end(sequence, {.finish = FinishReason::failed, .error = error});
    return false;
  }
  ++masks_used_;
  allowed = mask;
  return true;
}

/// Keeps copies of states that have reached what their request wants remembered. They are made behind the step, which
/// the backend's order of work allows.
void Engine::Impl::remember_snapshots(const StepInFlight& step) {
  for (const std::shared_ptr<Sequence>& sequence : step.sequences) {
    const std::vector<std::int64_t>& snapshots = sequence->request.snapshots;
    std::size_t& passed = sequence->snapshots_passed;
    for (; passed < snapshots.size() && snapshots[passed] <= sequence->state->length(); ++passed) {
      if (snapshots[passed] < sequence->state->length()) continue;  // its state started behind it
      const auto tokens = std::span(sequence->request.prompt).first(static_cast<std::size_t>(snapshots[passed]));
      const bool kept = cache_.remember_fork(tokens, sequence->request.cache_salt, *sequence->state);
      counters_.snapshots_skipped += !kept;
    }
  }
}

/// Shows other threads what was counted.
void Engine::Impl::publish() {
  counters_.running = std::ssize(running_);
  counters_.kv_pages_total = pool_.total_pages();
  counters_.kv_pages_used = pool_.total_pages() - pool_.free_pages();
  counters_.slots_total = pool_.total_slots();
  counters_.slots_used = pool_.total_slots() - pool_.free_slots();
  counters_.snapshots = cache_.size();
  counters_.snapshot_bytes = cache_.bytes();
  counters_.snapshots_evicted = cache_.evictions();
  counters_.last_step = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  published_ = counters_;
}

}  // namespace strata
