// How requests get into the engine and out of it, and what it takes when it is made.
#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"

namespace strata {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::usage, message); }

void require_range(const char* field, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (low <= value && value <= high) return;
  refuse(std::string(field) + " is " + std::to_string(value) + "; it must be from " + std::to_string(low) + " to " +
         std::to_string(high));
}

constexpr std::int64_t kMost = 1 << 20;         // of sequences, slots and tokens in a step
constexpr std::int64_t kMostTokens = 1L << 40;  // of keys and values

/// The options, if they can be.
const EngineOptions& checked(const EngineOptions& options, const Model& model) {
  require_range("max_sequences", options.max_sequences, 1, kMost);
  require_range("context", options.context, 1, model.max_context());
  require_range("kv_tokens", options.kv_tokens, 0, kMostTokens);
  require_range("chunk", options.chunk, options.max_sequences, kMost);
  require_range("spare_slots", options.spare_slots, 0, kMost);
  require_range("steps_in_flight", options.steps_in_flight, 1, 8);
  if (options.kv_type != DType::bf16 && options.kv_type != DType::f8_e4m3) {
    refuse("kv_type is " + std::string(name_of(options.kv_type)) + "; it must be bf16 or fp8");
  }
  return options;
}

std::int64_t slots(const EngineOptions& options) { return options.max_sequences + options.spare_slots; }

std::int64_t pages(const EngineOptions& options) {
  if (options.kv_tokens > 0) return StateLayout::pages_for(options.kv_tokens);
  return options.max_sequences * StateLayout::pages_for(options.context);
}

std::vector<SampleBuffers> allocate_sample_buffers(Backend& backend, const EngineOptions& options) {
  std::vector<SampleBuffers> buffers;
  const std::int64_t column = options.max_sequences * 4;
  for (int i = 0; i < options.steps_in_flight; ++i) {
    buffers.push_back({backend.allocate(column), backend.allocate(column), backend.allocate(column * kMaxTopLogprobs),
                       backend.allocate(column * kMaxTopLogprobs)});
  }
  return buffers;
}

/// Engines on one backend have different memory, so that none may replay what another recorded.
std::uint64_t next_run_keys() {
  static std::atomic<std::uint64_t> engines{0};
  return ++engines << 32;
}

}  // namespace

Engine::Impl::Impl(const Model& model, Backend& backend, const EngineOptions& options)
    : model_(model),
      backend_(backend),
      options_(checked(options, model)),
      pool_(backend, {model.state_shape(), backend.state_types(options.kv_type)}, slots(options), pages(options)),
      workspace_(backend, model.workspace_bytes(options.chunk, options.max_sequences)),
      logits_(backend.allocate(options.max_sequences * model.vocab_size() * size_of(DType::f32))),
      sample_buffers_(allocate_sample_buffers(backend, options)),
      run_keys_(next_run_keys()),
      scheduler_(options.chunk, options.max_sequences) {
  WorkLimits limits = model.work_limits();
  limits.tokens = options.chunk;
  limits.logit_rows = limits.sequences = options.max_sequences;
  limits.slots = slots(options);
  limits.context = options.context;
  backend.reserve(limits);
}

void Engine::Impl::validate(const Request& request) const {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
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
  if (request.state && (request.state->slot() < 0 || request.state->length() >= prompt)) {
    refuse("the request's state has seen " + std::to_string(request.state->length()) + " tokens; it must have seen " +
           "fewer than the " + std::to_string(prompt) + " of the prompt");
  }
}

RequestId Engine::Impl::submit(Request request) {
  validate(request);
  const auto sequence = std::make_shared<Sequence>();
  sequence->limit = std::min(request.max_tokens, options_.context - static_cast<std::int64_t>(request.prompt.size()));
  sequence->state = std::exchange(request.state, std::nullopt);
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
    sequence->id = ++last_id_;
    ++active_;
    submitted_.push_back(sequence);
  }
  wake_.notify_one();
  return sequence->id;
}

/// Takes over what other threads have submitted and cancelled; false if nothing.
bool Engine::Impl::take_requests() {
  std::vector<std::shared_ptr<Sequence>> submitted;
  std::vector<RequestId> cancelled;
  {
    const std::lock_guard lock(mutex_);
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
  }
  for (std::shared_ptr<Sequence>& sequence : submitted) {
    if (sequence->limit == 0) {
      end(*sequence, {.finish = FinishReason::length});
    } else {
      waiting_.push_back(std::move(sequence));
    }
  }
  take_cancels(cancelled);
  return !submitted.empty() || !cancelled.empty();
}

void Engine::Impl::take_cancels(const std::vector<RequestId>& cancels) {
  for (RequestId id : cancels) {
    const auto waiting = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& s) { return s->id == id; });
    if (waiting != waiting_.end()) {
      const std::shared_ptr<Sequence> sequence = *waiting;
      waiting_.erase(waiting);
      end(*sequence, {.finish = FinishReason::cancelled});
      continue;
    }
    // A state that is handed out must not have rows in flight.
    if (const auto it = running_.find(id); it != running_.end() && it->second->request.on_state) {
      while (!in_flight_.empty()) collect();
    }
    if (const auto it = running_.find(id); it != running_.end()) {
      const std::shared_ptr<Sequence> sequence = it->second;
      end(*sequence, {.finish = FinishReason::cancelled});
    }
  }
}

void Engine::Impl::end(Sequence& sequence, TokenEvent event) {
  if (std::exchange(sequence.ended, true)) return;
  event.request = sequence.id;
  scheduler_.finish(sequence.id);
  // Steps in flight that have rows of it keep it alive; so does the caller, until the last event is out.
  running_.erase(sequence.id);
  bool open;
  {
    const std::lock_guard lock(mutex_);
    --active_;
    open = !closed_;
  }
  const Request& request = sequence.request;
  if (open && request.on_state && sequence.state && event.finish != FinishReason::failed) {
    std::vector<TokenId> seen = request.prompt;
    seen.insert(seen.end(), sequence.answer.begin(), sequence.answer.end());
    const auto length = static_cast<std::size_t>(sequence.state->length());
    CHECK(length <= seen.size(), "a state ran past its answer");
    seen.resize(length);
    request.on_state(*std::exchange(sequence.state, std::nullopt), std::move(seen));
  }
  if (request.on_token) request.on_token(event);
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
    wake_.wait(lock, stop, [&] { return !submitted_.empty() || !cancelled_.empty(); });
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
  left.insert(left.end(), waiting_.begin(), waiting_.end());
  left.insert(left.end(), submitted_.begin(), submitted_.end());
  end_all(left, FinishReason::cancelled, "");
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

void Engine::run(const std::stop_token& stop) { impl_->run(stop); }

bool Engine::step() { return impl_->step(); }

std::int64_t Engine::active() const {
  const std::lock_guard lock(impl_->mutex_);
  return impl_->active_;
}

StatePool& Engine::pool() { return impl_->pool_; }

}  // namespace strata
