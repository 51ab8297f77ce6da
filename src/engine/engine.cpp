// The loop: a step is enqueued before the tokens of the one before it are known on the host.
#include "engine/engine.h"

#include <algorithm>

#include "engine/engine_impl.h"

namespace strata {

/// One turn: what arrived, one step more in flight if one can be formed, and the tokens of the oldest step once as many
/// are in flight as may be, or no other can be formed without them.
bool Engine::Impl::step() {
  const bool arrived = take_requests();
  admit();
  const bool enqueued = enqueue();
  if (in_flight_.empty()) return arrived || enqueued;
  if (!enqueued || in_flight_.size() == static_cast<std::size_t>(options_.steps_in_flight)) collect();
  return true;
}

/// Starts those that wait, in order, while there is room. Slot and pages are taken for the whole request at once, so
/// that none fails midway because of its neighbours.
void Engine::Impl::admit() {
  while (!waiting_.empty() && static_cast<std::int64_t>(running_.size()) < options_.max_sequences) {
    const std::shared_ptr<Sequence> sequence = waiting_.front();
    std::optional<SequenceState>& state = sequence->state;
    const auto owned = state ? static_cast<std::int64_t>(state->pages().size()) : 0;
    if (StateLayout::pages_for(sequence->length_at_end()) - owned > pool_.free_pages()) return;
    try {
      if (!state && !(state = pool_.acquire())) return;
      CHECK(pool_.reserve(*state, sequence->length_at_end() - state->length()), "the pages were free");
    } catch (const std::exception& e) {
      waiting_.pop_front();
      end(*sequence, {.finish = FinishReason::failed, .error = e.what()});
      continue;
    }
    scheduler_.add(sequence->id, static_cast<std::int64_t>(sequence->request.prompt.size()) - state->length());
    running_.emplace(sequence->id, sequence);
    waiting_.pop_front();
  }
}

/// Enqueues the scheduler's next step; false if there is none. An error ends the requests that have rows in it. What of
/// it was enqueued may still run, but before anything that is enqueued later: so their slots and pages are free.
bool Engine::Impl::enqueue() {
  if (in_flight_.size() == static_cast<std::size_t>(options_.steps_in_flight)) return false;
  const std::vector<ScheduledRows> plan = scheduler_.next();
  if (plan.empty()) return false;
  StepInFlight step;
  try {
    forward(plan, step);
    next_buffers_ = (next_buffers_ + 1) % sample_buffers_.size();
    in_flight_.push_back(std::move(step));
  } catch (const std::exception& e) {
    end_all(step.sequences, FinishReason::failed, e.what());
  }
  return true;
}

void Engine::Impl::forward(const std::vector<ScheduledRows>& plan, StepInFlight& step) {
  build_batch(plan, step);
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
                    {{out.tokens.get(), DType::i32, sampled, 1, 1},
                     {out.logprobs.get(), DType::f32, sampled, 1, 1},
                     {out.top_ids.get(), DType::i32, sampled, kMaxTopLogprobs, kMaxTopLogprobs},
                     {out.top_logprobs.get(), DType::f32, sampled, kMaxTopLogprobs, kMaxTopLogprobs}});
  }
  step.mark = backend_.mark();
}

/// The plan as one ragged batch, and how its logit rows are sampled.
void Engine::Impl::build_batch(const std::vector<ScheduledRows>& plan, StepInFlight& step) {
  tokens_.clear();
  rows_.clear();
  logit_rows_.clear();
  sampling_rows_.clear();
  for (const ScheduledRows& planned : plan) {
    const std::shared_ptr<Sequence>& sequence = running_.at(planned.request);
    const std::vector<TokenId>&prompt = sequence->request.prompt, &answer = sequence->answer;
    SequenceState& state = *sequence->state;
    const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());

    rows_.push_back(state.rows(static_cast<std::int64_t>(tokens_.size()), planned.count));
    if (state.length() < prompt_tokens) {
      const auto first = prompt.begin() + state.length();
      tokens_.insert(tokens_.end(), first, first + planned.count);
    } else {
      const bool known = sequence->enqueued == static_cast<std::int64_t>(answer.size());
      tokens_.push_back(known ? answer.back() : kTokenOfLastStep);
    }
    state.advance(planned.count);
    step.sequences.push_back(sequence);
    if (!planned.samples) continue;

    logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - 1);
    const auto position = static_cast<std::uint64_t>(prompt_tokens + sequence->enqueued);
    sampling_rows_.push_back({&sequence->request.sampling, position, prompt, answer});
    step.sampled.push_back(sequence);
    ++sequence->enqueued;
    if (sequence->needs_last_token() || sequence->enqueued == sequence->limit) scheduler_.hold(sequence->id, true);
  }
}

/// Waits for the oldest step and delivers its tokens. Those of requests that ended meanwhile are dropped.
void Engine::Impl::collect() {
  const StepInFlight step = std::move(in_flight_.front());
  in_flight_.pop_front();
  try {
    backend_.wait(step.mark);
    if (!step.sampled.empty()) download(step);
  } catch (const std::exception& e) {
    end_all(step.sequences, FinishReason::failed, e.what());
    return;
  }
  for (std::size_t row = 0; row < step.sampled.size(); ++row) {
    if (!step.sampled[row]->ended) deliver(*step.sampled[row], row);
  }
}

void Engine::Impl::download(const StepInFlight& step) {
  const SampleBuffers& from = sample_buffers_[step.buffers];
  const auto fetch = [&](const Buffer& buffer, auto& host, std::size_t columns) {
    host.resize(step.sampled.size() * columns);
    backend_.download(buffer.get(), std::as_writable_bytes(std::span(host)));
  };
  const auto any = [&](auto wants) {
    return std::any_of(step.sampled.begin(), step.sampled.end(),
                       [&](const auto& sequence) { return wants(sequence->request.sampling); });
  };
  fetch(from.tokens, sampled_tokens_, 1);
  const bool top_logprobs = any([](const SamplingParameters& p) { return p.top_logprobs > 0; });
  if (top_logprobs || any([](const SamplingParameters& p) { return p.logprobs; })) {
    fetch(from.logprobs, sampled_logprobs_, 1);
  }
  if (top_logprobs) {
    fetch(from.top_ids, sampled_top_ids_, kMaxTopLogprobs);
    fetch(from.top_logprobs, sampled_top_logprobs_, kMaxTopLogprobs);
  }
}

/// Tells the request its token, the collected step's sample `row`, and whether that was the last.
void Engine::Impl::deliver(Sequence& sequence, std::size_t row) {
  const Request& request = sequence.request;
  TokenEvent event{.request = sequence.id, .token = sampled_tokens_[row]};
  const auto alternatives = static_cast<std::size_t>(request.sampling.top_logprobs);
  if (request.sampling.logprobs || alternatives > 0) event.logprob = sampled_logprobs_[row];
  if (alternatives > 0) {
    event.top_ids = std::span(sampled_top_ids_).subspan(row * kMaxTopLogprobs, alternatives);
    event.top_logprobs = std::span(sampled_top_logprobs_).subspan(row * kMaxTopLogprobs, alternatives);
  }
  sequence.answer.push_back(event.token);
  if (std::find(request.stop_tokens.begin(), request.stop_tokens.end(), event.token) != request.stop_tokens.end()) {
    event.finish = FinishReason::stop;
  } else if (static_cast<std::int64_t>(sequence.answer.size()) == sequence.limit) {
    event.finish = FinishReason::length;
  }
  if (event.finish != FinishReason::none) return end(sequence, event);
  if (sequence.needs_last_token()) scheduler_.hold(sequence.id, false);
  if (request.on_token) request.on_token(event);
}

}  // namespace strata
