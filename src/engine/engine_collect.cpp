// What a step's samples become: news of requests.
#include <bit>
#include <cmath>
#include <string>

#include "engine/engine_impl.h"

namespace strata {

/// Waits for the oldest step and delivers its tokens. Those of requests that ended meanwhile are dropped.
void Engine::Impl::collect() {
  const StepInFlight step = std::move(in_flight_.front());
  in_flight_.pop_front();
  try {
    backend_.wait(step.mark);
    if (!step.sampled.empty()) download(step);
    count_time(step);
  } catch (const std::exception& e) {
    cache_.clear();  // copies of what the step should have left behind
    end_all(step.sequences, FinishReason::failed, e.what());
    return;
  }
  for (const auto& [sequence, length] : step.progress) {
    if (!sequence->ended) sequence->request.on_progress(length);
  }
  for (std::size_t row = 0; row < step.sampled.size();) {
    const SampledRow& sampled = step.sampled[row];
    if (sampled.prompt_index >= 0) {
      row = deliver_prompt(step, row);
    } else {
      if (!sampled.sequence->ended) deliver(*sampled.sequence, row);
      ++row;
    }
  }
}

void Engine::Impl::count_time(const StepInFlight& step) {
  const auto now = std::chrono::steady_clock::now();
  const auto took = now - std::max(step.begun, last_collected_);
  const StepPhase phase = step.prompt_tokens == 0 ? StepPhase::decode
                          : step.decodes > 0      ? StepPhase::mixed
                                                  : StepPhase::prefill;
  counters_.step_times[static_cast<std::size_t>(phase)].add(took);
  pace_.learn(step.prompt_tokens, took);
  last_collected_ = now;
}

void Engine::Impl::download(const StepInFlight& step) {
  const SampleBuffers& from = sample_buffers_[step.buffers];
  const auto fetch = [&](const Buffer& buffer, auto& host, std::size_t columns) {
    host.resize(step.sampled.size() * columns);
    backend_.download(buffer.get(), std::as_writable_bytes(std::span(host)));
  };
  fetch(from.chosen, sampled_, 2);
  const bool alternatives = std::any_of(step.sampled.begin(), step.sampled.end(), [](const SampledRow& row) {
    return row.sequence->request.sampling.top_logprobs > 0;
  });
  if (alternatives) {
    fetch(from.top_ids, sampled_top_ids_, kMaxTopLogprobs);
    fetch(from.top_logprobs, sampled_top_logprobs_, kMaxTopLogprobs);
  }
}

float Engine::Impl::logprob_of(std::size_t row) const {
  return std::bit_cast<float>(sampled_[sampled_.size() / 2 + row]);
}

/// Points `ids` and `logprobs` to the alternatives of `row`, as many as `sampling` wants.
std::size_t Engine::Impl::alternatives(const SamplingParameters& sampling, std::size_t row,
                                       std::span<const TokenId>& ids, std::span<const float>& logprobs) const {
  const auto count = static_cast<std::size_t>(sampling.top_logprobs);
  if (count == 0) return 0;
  ids = std::span(sampled_top_ids_).subspan(row * kMaxTopLogprobs, count);
  logprobs = std::span(sampled_top_logprobs_).subspan(row * kMaxTopLogprobs, count);
  return count;
}

/// Tells the request its token, the collected step's sample `row`, and whether that was the last.
void Engine::Impl::deliver(Sequence& sequence, std::size_t row) {
  const Request& request = sequence.request;
  if (std::isnan(logprob_of(row))) return end_with_bad_logits(sequence, sequence.known_length());
  if (sequence.limit == 0) return end(sequence, {.finish = FinishReason::length});  // it only wanted the prompt's

  TokenEvent event{.request = sequence.id, .token = sampled_[row]};
  const std::size_t tops = alternatives(request.sampling, row, event.top_ids, event.top_logprobs);
  if (request.sampling.logprobs || tops > 0) event.logprob = logprob_of(row);
  sequence.answer.push_back(event.token);
  ++counters_.generated_tokens;
  try {
    for (const auto& constraint : request.constraints) constraint->accept(event.token);
  } catch (const std::exception& e) {
    return end(sequence, {.finish = FinishReason::failed, .error = e.what()});
  }
  if (std::find(request.stop_tokens.begin(), request.stop_tokens.end(), event.token) != request.stop_tokens.end()) {
    event.finish = FinishReason::stop;
  } else if (std::ssize(sequence.answer) == sequence.limit) {
    event.finish = FinishReason::length;
  }
  if (event.finish != FinishReason::none) return end(sequence, event);
  if (sequence.needs_last_token()) scheduler_.hold(sequence.id, false);
  if (request.on_token) request.on_token(event);
}

/// Tells the request of its prompt's tokens, from the collected step's sample `first` on; returns the sample behind.
std::size_t Engine::Impl::deliver_prompt(const StepInFlight& step, std::size_t first) {
  Sequence& sequence = *step.sampled[first].sequence;
  prompt_logprobs_.clear();
  std::size_t row = first;
  for (; row < step.sampled.size(); ++row) {
    const auto& [of, index] = step.sampled[row];
    if (of.get() != &sequence || index < 0) break;
    if (sequence.ended) continue;
    if (std::isnan(logprob_of(row))) {
      end_with_bad_logits(sequence, index);
      continue;
    }
    PromptLogprob news{.token = sampled_[row], .logprob = logprob_of(row)};
    alternatives(sequence.prompt_sampling, row, news.top_ids, news.top_logprobs);
    prompt_logprobs_.push_back(news);
  }
  if (!sequence.ended) sequence.request.on_prompt(prompt_logprobs_);
  return row;
}

void Engine::Impl::end_with_bad_logits(Sequence& sequence, std::int64_t position) {
  // What it left behind may be as bad.
  cache_.forget(sequence.request.prompt, sequence.request.cache_salt);
  const std::string error = "the logits of token " + std::to_string(position) +
                            " aren't finite numbers, so that no token can be chosen; `strata validate` says whether "
                            "the checkpoint's weights are sound";
  end(sequence, {.finish = FinishReason::numerical_error, .error = error});
}

}  // namespace strata
