// Who has memory: requests start when there is room for their prompts, grow page by page, and give way when there is no
// page left.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "engine/engine_impl.h"

namespace strata {

/// Starts those that wait, in order, while there is room; false if that changed nothing.
bool Engine::Impl::admit() {
  bool changed = false;
  while (true) {
    const auto first = std::find_if(waiting_.begin(), waiting_.end(),
                                    [](const auto& w) { return !w.second->paused && !w.second->follows(); });
    if (first == waiting_.end()) return changed;
    const std::shared_ptr<Sequence> sequence = first->second;
    if (std::ssize(running_) >= options_.max_sequences) {
      if (!park_paused()) return changed;
      changed = true;
      continue;
    }
    const Blocked now{sequence->id, pool_.free_slots(), pool_.free_pages(), std::ssize(running_)};
    if (blocked_.request == now.request && now.free_slots <= blocked_.free_slots &&
        now.free_pages <= blocked_.free_pages && now.running >= blocked_.running) {
      return changed;
    }
    bool started = false;
    try {
      started = start(sequence);
    } catch (const std::exception& e) {
      waiting_.erase(sequence->order());
      end(*sequence, {.finish = FinishReason::failed, .error = e.what()});
      changed = true;
      continue;
    }
    if (!started) {
      blocked_ = {sequence->id, pool_.free_slots(), pool_.free_pages(), std::ssize(running_)};
      return changed;
    }
    blocked_ = {};
    changed = true;
  }
}

/// Gives a sequence its memory and the scheduler's attention; false if there is no room.
bool Engine::Impl::start(const std::shared_ptr<Sequence>& sequence) {
  Sequence& s = *sequence;
  PrefixCache::Match match;
  while (!take_memory(s, match)) {
    if (park_paused()) continue;
    // Nobody will give anything back, but those that wait with a state of their own can do without it until their turn.
    if (!running_.empty() || !park_last(&s)) return false;
  }
  s.leader.reset();
  waiting_.erase(s.order());
  running_.emplace(s.id, sequence);
  PromptToSchedule prompt{.tokens = s.known_length() - s.state->length()};
  for (std::int64_t length : s.request.snapshots) {
    if (length > s.state->length()) prompt.cuts.push_back(length - s.state->length());
  }
  prompt.all_logits = s.request.prompt_logprobs && s.state->length() < s.prompt_tokens();
  scheduler_.add(s.id, std::move(prompt));
  if (std::exchange(s.started, true)) {
    --counters_.parked;
    return true;
  }

  const std::int64_t cached = s.state->length();
  ++counters_.started;
  counters_.cached_prompt_tokens += cached;
  if (!s.brought_state && !s.request.prompt_logprobs) {
    ++counters_.prefix_queries;
    if (cached > 0) {
      ++counters_.prefix_hits;
    } else {
      ++counters_.prefix_misses[static_cast<std::size_t>(match.miss)];
    }
  }
  {
    const std::lock_guard lock(mutex_);
    --queued_;
    queued_tokens_ -= s.prompt_tokens();
  }
  if (s.request.on_start) s.request.on_start(cached);
  return true;
}

/// A state for the sequence, and pages for what is known of it and one token more, so that every other that runs keeps
/// a page to grow into. False, and nothing is changed but what is remembered, if there is no room.
bool Engine::Impl::take_memory(Sequence& s, PrefixCache::Match& match) {
  const std::int64_t tokens = std::min(s.known_length() + 1, s.length_at_end());
  const std::int64_t margin = pages_needed_soon();
  const auto missing = [&](std::int64_t owned) { return StateLayout::pages_for(tokens) - owned; };
  const auto there_are = [&](std::int64_t pages) {
    return pages <= pool_.free_pages() || pages <= cache_.obtainable_pages();
  };
  if (s.state) {
    const std::int64_t pages = missing(std::ssize(s.state->pages()));
    if (!there_are(pages + margin)) return false;
    CHECK(cache_.free_pages(pages) && pool_.reserve(*s.state, tokens - s.state->length()), "the pages were there");
    return true;
  }
  const std::span<const TokenId> prompt = s.request.prompt;
  match = {};
  if (!s.parked && !s.request.prompt_logprobs) match = cache_.find(prompt, s.request.cache_salt);
  const std::int64_t shared = match.length / kPageSize;
  if (!there_are(missing(shared) + margin)) return false;
  const auto known = prompt.first(static_cast<std::size_t>(match.length));
  std::optional<SequenceState> state;
  if (match.length > 0) {
    state = cache_.resume(known, s.request.cache_salt);
  } else if (!cache_.free_slots(1)) {
    return false;
  } else if (s.parked) {
    CHECK(cache_.free_pages(missing(0)), "the pages were there");
    state = pool_.upload(*s.parked);
  } else {
    state = pool_.acquire();
  }
  CHECK(state, "there was a slot");
  const std::int64_t pages = missing(std::ssize(state->pages()));
  // What a resumed state shares can't be had from what is remembered any more.
  if (!there_are(pages + margin)) {
    if (match.length > 0) cache_.remember(known, s.request.cache_salt, std::move(*state));
    return false;
  }
  CHECK(cache_.free_pages(pages) && pool_.reserve(*state, tokens - state->length()), "the pages were there");
  s.parked.reset();
  s.state = std::move(state);
  return true;
}

/// A page for each that runs and will outgrow its own.
std::int64_t Engine::Impl::pages_needed_soon() const {
  return std::count_if(running_.begin(), running_.end(), [](const auto& running) {
    const Sequence& s = *running.second;
    return std::ssize(s.state->pages()) < StateLayout::pages_for(s.length_at_end());
  });
}

/// Sees to it that the next step finds a page for every sequence that is at the end of its own. The last in order give
/// way until it does. False if there was nothing to do.
bool Engine::Impl::make_room() {
  bool changed = false;
  while (!std::all_of(running_.begin(), running_.end(), [&](const auto& r) { return has_next_page(*r.second); })) {
    // A state can be set aside once no step in flight has rows of it; and what ends meanwhile gives pages back.
    if (!in_flight_.empty()) {
      collect();
    } else {
      CHECK(park_last(nullptr), "a sequence without a page has a state");
    }
    changed = true;
  }
  return changed;
}

bool Engine::Impl::has_next_page(Sequence& sequence) {
  if (sequence.paused) return true;
  SequenceState& state = *sequence.state;
  if (state.length() < state.capacity() || state.length() >= sequence.length_at_end()) return true;
  return cache_.free_pages(1) && pool_.reserve(state, 1);
}

/// Parks the last in order of those that have a state, other than `but`, and one that is paused before any that isn't;
/// false if there is none.
bool Engine::Impl::park_last(const Sequence* but) {
  std::shared_ptr<Sequence> last;
  const auto look_at = [&](const std::shared_ptr<Sequence>& s) {
    if (!s->state || s.get() == but) return;
    if (!last || std::pair(last->paused, last->order()) < std::pair(s->paused, s->order())) last = s;
  };
  for (const auto& [id, sequence] : running_) look_at(sequence);
  for (const auto& [order, sequence] : waiting_) look_at(sequence);
  if (!last) return false;
  try {
    last->parked = pool_.download(*last->state);
  } catch (const std::exception& e) {
    waiting_.erase(last->order());
    end(*last, {.finish = FinishReason::failed, .error = e.what()});
    last->state.reset();
    return true;
  }
  last->state.reset();
  if (running_.erase(last->id) > 0) {
    ++counters_.preemptions;
    ++counters_.parked;
    scheduler_.finish(last->id);
    waiting_.emplace(last->order(), last);
  }
  return true;
}

/// Parks one that runs and is paused, for one that waits; false if there is none, or host memory holds enough of them.
bool Engine::Impl::park_paused() {
  const auto is_paused = [](const auto& running) { return running.second->paused; };
  if (counters_.parked >= options_.max_sequences) return false;
  if (std::none_of(running_.begin(), running_.end(), is_paused)) return false;
  while (!in_flight_.empty()) collect();  // which may end it
  return std::none_of(running_.begin(), running_.end(), is_paused) || park_last(nullptr);
}

}  // namespace strata
