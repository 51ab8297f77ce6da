// How requests get into the engine and out of it.
#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"

namespace strata {
void Engine::Impl::validate(const Request& request) const {
  const auto prompt = std::ssize(request.prompt);
  if (prompt == 0) refuse("the prompt is empty; it must have at least one token");
  for (TokenId token : request.prompt) {
    if (token >= 0 && token < model_.vocab_size()) continue;
    refuse("the prompt has token " + std::to_string(token) + "; the vocabulary ends at " +
           std::to_string(model_.vocab_size() - 1));
  }
  if (prompt >= options_.context) {
    refuse("the prompt has " + std::to_string(prompt) + " tokens; the context has room for " +
           std::to_string(options_.context) + ", of which the answer needs at least one");
  }
  if (request.max_tokens < 0) refuse("max_tokens is " + std::to_string(request.max_tokens) + "; it must be 0 or more");
  request.sampling.validate(model_.vocab_size());
  for (std::int64_t length : request.snapshots) require_range("a length of snapshots", length, 1, prompt);
  if (request.prompt_logprobs && !request.on_prompt) refuse("prompt_logprobs needs an on_prompt to get them");
  if (request.state && request.prompt_logprobs) {
    refuse("a request with prompt_logprobs has a state; it must have none, because all of its prompt is computed");
  }
  if (request.state && (request.state->slot() < 0 || request.state->length() >= prompt)) {
    refuse("the request's state has seen " + std::to_string(request.state->length()) + " tokens; it must have seen " +
           "fewer than the " + std::to_string(prompt) + " of the prompt");
  }
}

RequestId Engine::Impl::submit(Request request) {
  validate(request);
  const auto sequence = std::make_shared<Sequence>();
  const auto prompt_tokens = std::ssize(request.prompt);
  sequence->limit = std::min(request.max_tokens, options_.context - prompt_tokens);
  sequence->prompt_sampling.logprobs = true;
  sequence->prompt_sampling.top_logprobs = request.sampling.top_logprobs;
  std::sort(request.snapshots.begin(), request.snapshots.end());
  request.snapshots.erase(std::unique(request.snapshots.begin(), request.snapshots.end()), request.snapshots.end());
  sequence->state = std::exchange(request.state, std::nullopt);
  sequence->brought_state = sequence->state.has_value();
  sequence->request = std::move(request);
  // total_pages never changes, so that any thread may ask.
  if (StateLayout::pages_for(sequence->length_at_end()) > pool_.total_pages()) {
    refuse("the request may reach " + std::to_string(sequence->length_at_end()) +
           " tokens; there are keys and values for " + std::to_string(pool_.total_pages() * kPageSize) +
           " (ask for fewer max_tokens, or start with more kv_tokens)");
  }
  {
    const std::lock_guard lock(mutex_);
    if (closed_) throw Error(ErrorCode::failure, "the engine is shutting down");
    refuse_if_busy(prompt_tokens);
    sequence->id = ++last_id_;
    // An idle engine hasn't been late with anything yet.
    if (active_++ == 0) published_.last_step = std::chrono::steady_clock::now();
    ++queued_;
    queued_tokens_ += prompt_tokens;
    submitted_.push_back(sequence);
  }
  wake_.notify_one();
  return sequence->id;
}

/// Throws Error{busy} if the queue has no room for a prompt of so many tokens. Under mutex_.
void Engine::Impl::refuse_if_busy(std::int64_t prompt_tokens) {
  std::string full;
  if (options_.max_queue > 0 && active_ >= options_.max_sequences + options_.max_queue) {
    full = std::to_string(active_) + " requests run and wait, and max_queue is " + std::to_string(options_.max_queue);
  } else if (options_.max_queued_tokens > 0 && queued_ > 0 &&
             queued_tokens_ + prompt_tokens > options_.max_queued_tokens) {
    full = std::to_string(queued_tokens_) + " tokens of prompts wait, and max_queued_tokens is " +
           std::to_string(options_.max_queued_tokens);
  } else {
    return;
  }
  ++refused_;
  throw Error(ErrorCode::busy, full + "; ask again later");
}

/// Takes over what other threads have submitted and cancelled; false if nothing.
bool Engine::Impl::take_requests() {
  std::vector<std::shared_ptr<Sequence>> submitted;
  std::vector<RequestId> cancelled;
  std::vector<std::pair<RequestId, bool>> pauses;
  {
    const std::lock_guard lock(mutex_);
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
    pauses.swap(pauses_);
  }
  for (std::shared_ptr<Sequence>& sequence : submitted) {
    if (sequence->request.starts_after != 0) sequence->leader = find(sequence->request.starts_after);
    if (sequence->limit == 0 && !sequence->request.prompt_logprobs) {
      end(*sequence, {.finish = FinishReason::length});
    } else {
      waiting_.emplace(sequence->order(), std::move(sequence));
    }
  }
  take_pauses(pauses);
  take_cancels(cancelled);
  if (submitted.empty() && cancelled.empty() && pauses.empty()) return false;
  blocked_ = {};
  return true;
}

void Engine::Impl::take_cancels(const std::vector<RequestId>& cancels) {
  for (RequestId id : cancels) {
    const std::shared_ptr<Sequence> sequence = find(id);
    if (!sequence) continue;
    // A state that is handed out must not have rows in flight.
    if (running_.contains(id) && sequence->request.on_state) {
      while (!in_flight_.empty()) collect();
    }
    waiting_.erase(sequence->order());
    end(*sequence, {.finish = FinishReason::cancelled});
  }
}

void Engine::Impl::take_pauses(const std::vector<std::pair<RequestId, bool>>& pauses) {
  for (const auto& [id, paused] : pauses) {
    const std::shared_ptr<Sequence> sequence = find(id);
    if (!sequence || sequence->paused == paused) continue;
    sequence->paused = paused;
    counters_.paused += paused ? 1 : -1;
    if (running_.contains(id)) scheduler_.pause(id, paused);
  }
}

std::shared_ptr<Sequence> Engine::Impl::find(RequestId id) const {
  if (const auto running = running_.find(id); running != running_.end()) return running->second;
  const auto waiting =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& w) { return w.second->id == id; });
  return waiting != waiting_.end() ? waiting->second : nullptr;
}

void Engine::Impl::end(Sequence& sequence, TokenEvent event) {
  if (std::exchange(sequence.ended, true)) return;
  event.request = sequence.id;
  scheduler_.finish(sequence.id);
  // Steps in flight that have rows of it keep it alive; so does the caller, until the last event is out.
  running_.erase(sequence.id);
  count_end(sequence, event.finish);
  bool open;
  {
    const std::lock_guard lock(mutex_);
    --active_;
    if (!sequence.started) {
      --queued_;
      queued_tokens_ -= sequence.prompt_tokens();
    }
    open = !closed_;
  }
  if (open && sequence.state) hand_on_state(sequence, event.finish);
  if (sequence.request.on_token) sequence.request.on_token(event);
}

void Engine::Impl::count_end(const Sequence& sequence, FinishReason reason) {
  counters_.parked -= sequence.started && sequence.parked;
  counters_.paused -= sequence.paused;
  switch (reason) {
    case FinishReason::none:
      break;
    case FinishReason::stop:
      ++counters_.finished_stop;
      break;
    case FinishReason::length:
      ++counters_.finished_length;
      break;
    case FinishReason::cancelled:
      ++(!sequence.started         ? counters_.cancelled_in_queue
         : sequence.answer.empty() ? counters_.cancelled_in_prefill
                                   : counters_.cancelled_in_decode);
      break;
    case FinishReason::failed:
      ++counters_.failed;
      break;
    case FinishReason::numerical_error:
      ++counters_.numerical_errors;
      break;
  }
}

/// What an ended sequence has left behind is remembered, or goes to whoever asked for it.
void Engine::Impl::hand_on_state(Sequence& sequence, FinishReason reason) {
  const Request& request = sequence.request;
  const bool done = reason == FinishReason::stop || reason == FinishReason::length;
  const bool remembers = request.remember_end && done && sequence.started;
  const bool hands_out = request.on_state && (done || reason == FinishReason::cancelled);
  if (!remembers && !hands_out) return;
  std::vector<TokenId> seen = request.prompt;
  seen.insert(seen.end(), sequence.answer.begin(), sequence.answer.end());
  const auto length = static_cast<std::size_t>(sequence.state->length());
  CHECK(length <= seen.size(), "a state ran past its answer");
  seen.resize(length);
  SequenceState state = *std::exchange(sequence.state, std::nullopt);
  if (remembers && hands_out) {
    counters_.snapshots_skipped += !cache_.remember_fork(seen, request.cache_salt, state);
  } else if (remembers) {
    return cache_.remember(seen, request.cache_salt, std::move(state));
  }
  request.on_state(std::move(state), std::move(seen));
}

void Engine::Impl::end_all(const std::vector<std::shared_ptr<Sequence>>& sequences, FinishReason reason,
                           std::string_view error) {
  for (const std::shared_ptr<Sequence>& sequence : sequences) {
    end(*sequence, {.finish = reason, .error = error});
  }
}

void Engine::Impl::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (step()) continue;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, stop, [&] { return !submitted_.empty() || !cancelled_.empty() || !pauses_.empty(); });
  }
}

void Engine::Impl::shut_down() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  for (const StepInFlight& step : in_flight_) {
    try {
      backend_.wait(step.mark);
    } catch (const std::exception&) {  // its tokens aren't wanted any more
    }
  }
  std::vector<std::shared_ptr<Sequence>> left;
  for (const auto& [id, sequence] : running_) left.push_back(sequence);
  for (const auto& [order, sequence] : waiting_) left.push_back(sequence);
  left.insert(left.end(), submitted_.begin(), submitted_.end());
  end_all(left, FinishReason::cancelled, "");
}

EngineStats Engine::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = published_;
  stats.waiting = queued_;
  stats.queued_tokens = queued_tokens_;
  stats.refused = refused_;
  stats.has_work = active_ > published_.paused;
  return stats;
}

Engine::Engine(const Model& model, Backend& backend, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(model, backend, options)) {}

Engine::~Engine() { impl_->shut_down(); }

RequestId Engine::submit(Request request) { return impl_->submit(std::move(request)); }

void Engine::cancel(RequestId request) {
  {
    const std::lock_guard lock(impl_->mutex_);
    impl_->cancelled_.push_back(request);
  }
  impl_->wake_.notify_one();
}

void Engine::pause(RequestId request, bool paused) {
  {
    const std::lock_guard lock(impl_->mutex_);
    impl_->pauses_.emplace_back(request, paused);
    // An engine whose requests are all paused hasn't been late with anything.
    if (!paused && impl_->active_ <= impl_->published_.paused)
      impl_->published_.last_step = std::chrono::steady_clock::now();
  }
  impl_->wake_.notify_one();
}

void Engine::run(const std::stop_token& stop) { impl_->run(stop); }

bool Engine::step() { return impl_->step(); }

std::int64_t Engine::active() const {
  const std::lock_guard lock(impl_->mutex_);
  return impl_->active_;
}

EngineStats Engine::stats() const { return impl_->stats(); }

StatePool& Engine::pool() { return impl_->pool_; }

}  // namespace strata
