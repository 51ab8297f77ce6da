// A request and its answer, in tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/sampling.h"
#include "engine/constraint.h"
#include "state/state_pool.h"

namespace strata {

using RequestId = std::uint64_t;

/// Why an answer ended.
enum class FinishReason {
  none,
  stop,
  length,
  cancelled,
  failed,           // TokenEvent::error says why
  numerical_error,  // a logit was NaN or infinite: of this sequence only; TokenEvent::error says where
};

/// "stop", "length", "cancelled", "failed", "numerical_error"; "" for none.
std::string_view name_of(FinishReason reason);

/// One step's news of a request. A token that is also a stop token is delivered with FinishReason::stop.
struct TokenEvent {
  RequestId request = 0;
  TokenId token = -1;  // -1 if there is none (cancelled, failed)
  float logprob = 0;
  std::span<const TokenId> top_ids = {};  // the request's top_logprobs, valid during the call
  std::span<const float> top_logprobs = {};
  FinishReason finish = FinishReason::none;
  std::string_view error = {};  // with FinishReason::failed and numerical_error
};

/// A token of the prompt, and what the model gave it after the tokens before it.
struct PromptLogprob {
  TokenId token = 0;
  float logprob = 0;
  std::span<const TokenId> top_ids = {};  // sampling.top_logprobs of them, valid during the call
  std::span<const float> top_logprobs = {};
};

/// What is asked for. Move-only: it may own a state. Callbacks come on the engine's thread and must not throw.
struct Request {
  std::vector<TokenId> prompt;  // at least one
  SamplingParameters sampling;
  std::int64_t max_tokens = 1 << 30;  // the context's end stops earlier; 0 ends with `length` and no token
  std::vector<TokenId> stop_tokens;
  std::int64_t priority = 0;  // lower first: who starts, and who keeps its memory when there is too little
  /// All of them apply to every token of the answer. If they leave none, the request fails. Not shared with a request
  /// that runs at the same time.
  std::vector<std::shared_ptr<TokenConstraint>> constraints;

  /// Another request, submitted before with the same prompt and salt: this one doesn't start before that one has passed
  /// the last of its `snapshots`, so that it finds them, or has ended. So several answers to one prompt compute it
  /// once.
  RequestId starts_after = 0;

  /// Called once, when the request starts: how many tokens of the prompt needn't be computed, because a remembered
  /// state or `state` has seen them. Not called for a request that ends before.
  std::function<void(std::int64_t cached_tokens)> on_start;
  /// Called in order, once a token; the last call has finish != none.
  std::function<void(const TokenEvent&)> on_token;

  /// Called after each step that computed some of the prompt: how many of its tokens the state has seen.
  std::function<void(std::int64_t prompt_tokens)> on_progress;

  /// Whether `on_prompt` gets every token of the prompt but the first, in order, some at a time, all before the first
  /// on_token. Then the whole prompt is computed, whatever is remembered, also with max_tokens 0; `state` can't be set.
  bool prompt_logprobs = false;
  std::function<void(std::span<const PromptLogprob>)> on_prompt;

  /// Lengths of beginnings of the prompt, 1 to all of it, after which the state is remembered for later requests: a
  /// prompt that begins with the same tokens and has the same salt starts from there. Best effort: it takes a slot that
  /// nothing else needs (EngineOptions::spare_slots).
  std::vector<std::int64_t> snapshots;
  /// Whether the state at the end (of `stop` and `length`) is remembered likewise: of all tokens but the last, which
  /// was chosen and not fed back. Costs the overlap of steps, as a penalty does.
  bool remember_end = false;
  std::string cache_salt;  // states are shared between equal salts only

  /// Where to start from: what the first state->length() tokens of `prompt` left behind, fewer than all of them. From
  /// on_state or Engine::pool(). Without one, the longest remembered beginning is used.
  std::optional<SequenceState> state;
  /// If set, gets what the sequence has left behind, and the state.length() tokens of prompt and answer that it has
  /// seen: all but the last, which was chosen and not fed back. Called before the last on_token, unless the request
  /// failed, was parked or never started, or outlived the engine. A state holds a slot and pages: give it back (destroy
  /// it, or send it with a request) on the engine's thread or while the engine isn't running, and before the engine
  /// dies.
  std::function<void(SequenceState state, std::vector<TokenId> tokens)> on_state;
};

}  // namespace strata
