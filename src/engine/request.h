// A request and its answer, in tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/sampling.h"
#include "state/state_pool.h"

namespace strata {

using RequestId = std::uint64_t;

/// Why an answer ended.
enum class FinishReason { none, stop, length, cancelled, failed };

/// "stop", "length", "cancelled", "failed"; "" for none.
std::string_view name_of(FinishReason reason);

/// One step's news of a request. A token that is also a stop token is delivered with FinishReason::stop.
struct TokenEvent {
  RequestId request = 0;
  TokenId token = -1;  // -1 if there is none (cancelled, failed)
  float logprob = 0;
  std::span<const TokenId> top_ids = {};  // the request's top_logprobs, valid during the call
  std::span<const float> top_logprobs = {};
  FinishReason finish = FinishReason::none;
  std::string_view error = {};  // with FinishReason::failed
};

/// What is asked for. Move-only: it may own a state.
struct Request {
  std::vector<TokenId> prompt;  // at least one
  SamplingParameters sampling;
  std::int64_t max_tokens = 1 << 30;  // the context's end stops earlier; 0 ends with `length` and no token
  std::vector<TokenId> stop_tokens;
  /// Called on the engine's thread, in order, once a token; the last call has finish != none. Must not throw.
  std::function<void(const TokenEvent&)> on_token;

  /// Where to start from: what the first state->length() tokens of `prompt` left behind, fewer than all of them. From
  /// on_state or Engine::pool().
  std::optional<SequenceState> state;
  /// If set, gets what the sequence has left behind, and the state.length() tokens of prompt and answer that it has
  /// seen: all but the last, which was chosen and not fed back. Called on the engine's thread before the last on_token,
  /// unless the request failed, never started or outlived the engine. Must not throw. A state holds a slot and pages:
  /// give it back (destroy it, or send it with a request) on the engine's thread or while the engine isn't running, and
  /// before the engine dies.
  std::function<void(SequenceState state, std::vector<TokenId> tokens)> on_state;
};

}  // namespace strata
