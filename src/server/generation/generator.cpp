#include "server/generation/generator.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "server/generation/answer_constraints.h"
#include "server/generation/answer_stream.h"
#include "server/generation/call_id.h"
#include "server/generation/generator_impl.h"
#include "server/generation/prepared_request.h"

namespace strata {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

/// Of answer `index` to a prompt: the first has the request's own (SplitMix64 makes the others unlike it).
std::uint64_t seed_of(std::uint64_t seed, int index) {
  if (index == 0) return seed;
  std::uint64_t z = seed + static_cast<std::uint64_t>(index) * 0x9E3779B97F4A7C15U;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return (z ^ z >> 31) & ((std::uint64_t{1} << 53) - 1);
}

/// One answer under way. All but `id` is touched on the engine's thread only, under Generation::Shared::mutex.
struct Choice {
  Choice(const Tokenizer& tokenizer, const Marks& marks, AnswerStreamOptions options, AnswerStream::Emit emit)
      : stream(tokenizer, marks, std::move(options), std::move(emit)) {}

  AnswerStream stream;
  RequestId id = 0;
  bool finished = false;
  std::int64_t prompt_tokens = 0, cached_tokens = 0;
  TokenId first_prompt_token = 0;
  std::int32_t top_logprobs = 0;
  std::optional<std::int32_t> prompt_logprobs;
  SamplingParameters sampling;
  std::shared_ptr<const ThinkingBudget> budget;
  std::vector<std::string> warnings;
  Clock::time_point started, first_token, last_token;
  bool has_started = false, has_token = false;
};

}  // namespace

struct Generation::Shared {
  Shared(Engine& e, Generator::OnEvent callback, GenerationObserver* o)
      : engine(e), on_event(std::move(callback)), observer(o) {}

  void on_start(Choice& choice, int index, std::int64_t cached);
  void on_progress(Choice& choice, int index, std::int64_t processed);
  void on_prompt(Choice& choice, int index, std::span<const PromptLogprob> tokens);
  void on_token(Choice& choice, TokenEvent event);
  void note_token(Choice& choice);
  void finish(Choice& choice, AnswerFinish reason, std::string error = {}, bool numerical = false);
  std::vector<RequestId> unfinished() const;

  Engine& engine;
  const Generator::OnEvent on_event;
  GenerationObserver* const observer;
  const Clock::time_point asked = Clock::now();
  mutable std::mutex mutex;
  bool detached = false;
  AnswerFinish stop_reason = AnswerFinish::abort;
  std::vector<std::unique_ptr<Choice>> choices;
};

void Generation::Shared::on_start(Choice& choice, int index, std::int64_t cached) {
  const std::lock_guard lock(mutex);
  if (detached || choice.finished) return;
  choice.has_started = true;
  choice.started = Clock::now();
  choice.cached_tokens = cached;
  on_event({index, Started{choice.prompt_tokens, cached}});
  if (!choice.prompt_logprobs) return;
  PromptTokens first;  // nothing comes before it, so the model says nothing of it
  first.tokens.emplace_back().token = choice.first_prompt_token;
  first.tokens.back().logprob = std::numeric_limits<float>::quiet_NaN();
  on_event({index, std::move(first)});
}

void Generation::Shared::on_progress(Choice& choice, int index, std::int64_t processed) {
  const std::lock_guard lock(mutex);
  if (detached || choice.finished) return;
  on_event({index, PromptProgressed{choice.prompt_tokens, choice.cached_tokens, processed,
                                    ms_between(choice.started, Clock::now())}});
}

void Generation::Shared::on_prompt(Choice& choice, int index, std::span<const PromptLogprob> tokens) {
  const std::lock_guard lock(mutex);
  if (detached || choice.finished) return;
  PromptTokens more;
  for (const PromptLogprob& token : tokens) {
    TokenLogprob& out = more.tokens.emplace_back();
    out.token = token.token;
    out.logprob = token.logprob;
    const std::size_t top = std::min(token.top_ids.size(), static_cast<std::size_t>(*choice.prompt_logprobs));
    for (std::size_t i = 0; i < top; ++i)
      if (token.top_ids[i] >= 0) out.top.emplace_back(token.top_ids[i], token.top_logprobs[i]);
  }
  on_event({index, std::move(more)});
}

void Generation::Shared::note_token(Choice& choice) {
  const Clock::time_point now = Clock::now();
  if (observer != nullptr) {
    if (choice.has_token) {
      observer->on_token(now - choice.last_token);
    } else {
      observer->on_first_token(now - asked);
    }
  }
  if (!choice.has_token) choice.first_token = now;
  choice.has_token = true;
  choice.last_token = now;
}

void Generation::Shared::on_token(Choice& choice, TokenEvent event) {
  const std::lock_guard lock(mutex);
  if (detached || choice.finished) return;
  try {
    if (event.token >= 0) {
      note_token(choice);
      const auto top = std::min(event.top_ids.size(), static_cast<std::size_t>(choice.top_logprobs));
      event.top_ids = event.top_ids.first(top);
      event.top_logprobs = event.top_logprobs.first(top);
      if (event.finish == FinishReason::stop) {
        choice.stream.count_end();
      } else {
        choice.stream.push(event);
      }
    }
    switch (event.finish) {
      case FinishReason::none:
        if (!choice.stream.ended()) return;
        finish(choice, AnswerFinish::stop);
        return engine.cancel(event.request);
      case FinishReason::stop:
        return finish(choice, AnswerFinish::stop);
      case FinishReason::length:
        return finish(choice, AnswerFinish::length);
      case FinishReason::cancelled:
        return finish(choice, stop_reason);
      case FinishReason::failed:
        return finish(choice, AnswerFinish::error, std::string(event.error));
      case FinishReason::numerical_error:
        return finish(choice, AnswerFinish::error, "the model computed a logit that is no finite number", true);
    }
  } catch (const std::exception& error) {  // memory, most likely: this answer ends, and no other
    finish(choice, AnswerFinish::error, error.what());
    if (event.finish == FinishReason::none) engine.cancel(event.request);
  }
}

void Generation::Shared::finish(Choice& choice, AnswerFinish reason, std::string error, bool numerical) {
  choice.finished = true;
  Finished finished;
  finished.error = std::move(error);
  finished.numerical_error = numerical;
  finished.reasoning_truncated = choice.budget && choice.budget->used();
  finished.sampling = choice.sampling;
  finished.warnings = choice.warnings;
  finished.usage.prompt_tokens = choice.prompt_tokens;
  finished.usage.cached_tokens = choice.cached_tokens;
  const Clock::time_point now = Clock::now();
  const Clock::time_point started = choice.has_started ? choice.started : now;
  const Clock::time_point first = choice.has_token ? choice.first_token : now;
  finished.timings.queue_ms = ms_between(asked, started);
  finished.timings.prompt_ms = ms_between(started, first);
  finished.timings.predicted_ms = choice.has_token ? ms_between(first, choice.last_token) : 0;
  choice.stream.finish(reason, std::move(finished));
}

std::vector<RequestId> Generation::Shared::unfinished() const {
  std::vector<RequestId> ids;
  for (const auto& choice : choices)
    if (!choice->finished && choice->id != 0) ids.push_back(choice->id);
  return ids;
}

Generation::Generation() = default;
Generation::Generation(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
Generation::Generation(Generation&&) noexcept = default;

Generation& Generation::operator=(Generation&& other) noexcept {
  Generation gone(std::move(*this));
  shared_ = std::move(other.shared_);
  return *this;
}

Generation::~Generation() {
  if (!shared_) return;
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->detached = true;
    ids = shared_->unfinished();
  }
  for (const RequestId id : ids) shared_->engine.cancel(id);
}

void Generation::stop(AnswerFinish reason) {
  if (!shared_) return;
  CHECK(reason == AnswerFinish::timeout || reason == AnswerFinish::abort, "an answer is stopped by its time or by us");
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop_reason = reason;
    ids = shared_->unfinished();
  }
  for (const RequestId id : ids) shared_->engine.cancel(id);
}

void Generation::pause(bool paused) {
  if (!shared_) return;
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(shared_->mutex);
    ids = shared_->unfinished();
  }
  for (const RequestId id : ids) shared_->engine.pause(id, paused);
}

Generator::Impl::Impl(const Tokenizer& tokenizer, const std::vector<TokenId>& stop_tokens)
    : marks(tokenizer), compiler(tokenizer, stop_tokens) {
  for (std::int64_t t = 0; t < tokenizer.vocab_size(); ++t)
    longest_token = std::max(longest_token, tokenizer.bytes(static_cast<TokenId>(t)).size());
}

Generator::Generator(Engine& engine, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                     GeneratorOptions options, GenerationObserver* observer)
    : engine_(engine),
      tokenizer_(tokenizer),
      chat_template_(chat_template),
      options_(std::move(options)),
      observer_(observer),
      impl_(std::make_unique<Impl>(tokenizer, options_.stop_tokens)) {}

Generator::~Generator() = default;

bool Generator::can_call_tools() const { return can_chat() && impl_->marks.token(Mark::call_begin).has_value(); }
bool Generator::can_think() const { return can_chat() && impl_->marks.token(Mark::think_end).has_value(); }

Generation Generator::start(PreparedRequest prepared, OnEvent on_event) {
  PreparedRequest::Parts& parts = *prepared.parts_;
  const GenerationRequest& asked = parts.request;
  auto shared = std::make_shared<Generation::Shared>(engine_, std::move(on_event), observer_);
  Generation::Shared* const state = shared.get();

  AnswerStreamOptions stream;
  stream.chat = parts.chat;
  stream.parser.thinking = parts.thinking;
  stream.parser.tools = parts.tools;
  stream.parser.new_call_id = new_call_id;
  stream.parallel_tool_calls = asked.parallel_tool_calls;
  stream.stop = asked.stop;
  stream.include_stop = asked.include_stop_str_in_output;
  stream.min_tokens = asked.min_tokens;
  stream.logprobs = asked.logprobs;
  if (options_.replay_calls && parts.tools)
    stream.on_call = [calls = &impl_->calls](WrittenCall call) { calls->remember(std::move(call)); };

  // Held, so that no event is delivered before it is sure that there will be all of them.
  std::unique_lock lock(shared->mutex);
  const auto submit = [&](int index) {
    const PreparedPrompt& prompt = parts.prompts[static_cast<std::size_t>(index / asked.n)];
    auto owned = std::make_unique<Choice>(tokenizer_, impl_->marks, stream, [state, index](AnswerEvent event) {
      const auto* finished = std::get_if<Finished>(&event);
      if (finished != nullptr && state->observer != nullptr) state->observer->on_finished(*finished);
      state->on_event({index, std::move(event)});
    });
    Choice* const choice = owned.get();
    choice->prompt_tokens = std::ssize(prompt.tokens);
    choice->first_prompt_token = prompt.tokens.front();
    choice->top_logprobs = asked.top_logprobs;
    choice->prompt_logprobs = asked.prompt_logprobs;
    choice->warnings = asked.warnings;
    choice->sampling = parts.sampling;
    choice->sampling.seed = seed_of(parts.sampling.seed, index % asked.n);

    Request request;
    request.prompt = prompt.tokens;
    request.sampling = choice->sampling;
    request.max_tokens = prompt.max_tokens;
    request.stop_tokens = parts.stop_tokens;
    request.priority = asked.priority;
    request.cache_salt = asked.cache_salt;
    request.snapshots = prompt.snapshots;
    request.remember_end = parts.tools != nullptr;  // the next step of a tool loop goes on from there
    request.constraints = impl_->constraints_of(*this, parts, choice->budget);
    request.on_start = [shared, choice, index](std::int64_t cached) { shared->on_start(*choice, index, cached); };
    request.on_token = [shared, choice](const TokenEvent& event) { shared->on_token(*choice, event); };
    if (asked.prompt_progress) {
      request.on_progress = [shared, choice, index](std::int64_t done) { shared->on_progress(*choice, index, done); };
    }
    if (asked.n > 1 && request.prompt.size() > 1 && !asked.prompt_logprobs) {
      // The prompt is computed once, but for its last token: each answer wants the logits after it.
      if (index % asked.n == 0) request.snapshots.push_back(std::ssize(request.prompt) - 1);
      if (index % asked.n > 0)
        request.starts_after = shared->choices[static_cast<std::size_t>(index - index % asked.n)]->id;
    }
    if (asked.prompt_logprobs) {
      request.prompt_logprobs = true;
      request.on_prompt = [shared, choice, index](std::span<const PromptLogprob> tokens) {
        shared->on_prompt(*choice, index, tokens);
      };
    }
    shared->choices.push_back(std::move(owned));
    choice->id = engine_.submit(std::move(request));
  };
  try {
    for (int index = 0; index < prepared.choices(); ++index) submit(index);
  } catch (...) {
    shared->detached = true;
    const std::vector<RequestId> ids = shared->unfinished();
    lock.unlock();
    for (const RequestId id : ids) engine_.cancel(id);
    throw;
  }
  lock.unlock();
  return Generation(std::move(shared));
}

std::vector<std::shared_ptr<TokenConstraint>> Generator::Impl::constraints_of(
    const Generator& generator, const PreparedRequest::Parts& parts,
    std::shared_ptr<const ThinkingBudget>& budget) const {
  const GenerationRequest& asked = parts.request;
  const AnswerStart start = parts.thinking ? AnswerStart::thinking : AnswerStart::content;
  std::vector<std::shared_ptr<TokenConstraint>> constraints;
  if (parts.grammar && parts.grammar_of_calls) {
    constraints.push_back(compiler.constrain_tool_calls(parts.grammar, start, asked.parallel_tool_calls));
  } else if (parts.grammar) {
    auto form = compiler.constrain_answer(parts.grammar, start);
    if (parts.tools) {
      constraints.push_back(
          std::make_shared<FormOrCalls>(std::move(form), generator.tokenizer_, marks, parts.thinking));
    } else {
      constraints.push_back(std::move(form));
    }
  }
  if (parts.thinking_budget >= 0) {
    auto thinking = std::make_shared<ThinkingBudget>(generator.tokenizer_, marks, parts.thinking_budget);
    budget = thinking;
    constraints.push_back(std::move(thinking));
  }
  if (asked.min_tokens > 0 && !parts.stop_tokens.empty())
    constraints.push_back(std::make_shared<ForbiddenTokens>(parts.stop_tokens, asked.min_tokens));
  const auto call = marks.token(Mark::call_begin);
  if (parts.chat && asked.tool_choice == ToolChoice::none && call && !std::get<ChatPrompt>(asked.prompt).tools.empty())
    constraints.push_back(
        std::make_shared<ForbiddenTokens>(std::vector<TokenId>{*call}, std::numeric_limits<std::int64_t>::max()));
  return constraints;
}

}  // namespace strata
