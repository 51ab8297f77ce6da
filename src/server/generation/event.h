// What an answer is made of, as it comes: the one stream that every API is a serialiser of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/request.h"

namespace strata {

/// A token of the answer or the prompt, its log probability and that of the likeliest others.
struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;                           // NaN for a prompt's first token, which nothing comes before
  std::vector<std::pair<TokenId, float>> top;  // largest first

  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

/// Why an answer ended.
enum class AnswerFinish {
  stop,        // the model ended it, or a stop string or stop token came
  length,      // max_tokens or the end of the context
  tool_calls,  // it ended, with at least one call
  timeout,     // Generation::stop
  abort,       // Generation::stop: the server is being stopped, or an operator deleted the request
  error,       // Finished::error says why
};
/// "stop", "length", "tool_calls", "timeout", "abort", "error".
std::string_view name_of(AnswerFinish reason);

struct Usage {
  std::int64_t prompt_tokens = 0, cached_tokens = 0;  // cached: of the prompt, not computed for this request
  std::int64_t completion_tokens = 0;                 // chosen by the model or forced, the one that ended it included
  std::int64_t reasoning_tokens = 0;                  // of them, up to and with </think>

  friend bool operator==(const Usage&, const Usage&) = default;
};

/// In milliseconds.
struct GenerationTimings {
  double queue_ms = 0;      // from start() until the engine began
  double prompt_ms = 0;     // from there to the first token
  double predicted_ms = 0;  // from the first token to the last
};

/// The request has left the queue. Comes first, unless the answer ends before.
struct Started {
  std::int64_t prompt_tokens = 0, cached_tokens = 0;
};

/// The engine has computed more of the prompt; only if it was asked for.
struct PromptProgressed {
  std::int64_t prompt_tokens = 0, cached_tokens = 0;
  std::int64_t processed_tokens = 0;  // cached ones included
  double ms = 0;                      // since the engine began
};

/// Tokens of the prompt, in order, with their log probabilities; only if they were asked for, before any delta.
struct PromptTokens {
  std::vector<TokenLogprob> tokens;
};

/// More of the model's thinking: whole characters. Never after a TextDelta or a call, unless `text` is empty.
struct ReasoningDelta {
  std::string text;
};

/// More of the answer's text: whole characters.
struct TextDelta {
  std::string text;
};

/// A call of a tool; calls are numbered from 0 and don't interleave.
struct ToolCallBegin {
  int index = 0;
  std::string id, name;
};

/// More of its arguments: the fragments of a finished call are one JSON object.
struct ToolArguments {
  int index = 0;
  std::string fragment;
};

struct ToolCallEnd {
  int index = 0;
};

/// Tokens that were chosen since the last event of this kind, if log probabilities were asked for: all but those that
/// ended the answer. `reasoning`: of the thinking, </think> included. Independent of the deltas: text may be held back.
struct TokenLogprobs {
  bool reasoning = false;
  std::vector<TokenLogprob> tokens;
};

/// The last event of a choice.
struct Finished {
  AnswerFinish reason = AnswerFinish::stop;
  std::string error;                 // for a person, with AnswerFinish::error; nothing of the server's insides
  bool numerical_error = false;      // the error was a NaN or infinite logit
  std::string stop_string;           // that ended it, if one did
  bool reasoning_truncated = false;  // the thinking budget closed the thinking
  /// A call that was cut off by the end, as the model wrote it: a response that isn't streamed has it as content, where
  /// a stream has an unclosed call, of the number `unfinished_call` (-1: none).
  std::string unfinished_text;
  int unfinished_call = -1;
  Usage usage;
  GenerationTimings timings;
  SamplingParameters sampling;        // as they were in effect, with the seed
  std::vector<std::string> warnings;  // "unknown_tool", ...: short names, for a header
};

using AnswerEvent = std::variant<Started, PromptProgressed, PromptTokens, ReasoningDelta, TextDelta, ToolCallBegin,
                                 ToolArguments, ToolCallEnd, TokenLogprobs, Finished>;

/// An event of one of a request's answers.
struct ChoiceEvent {
  int choice = 0;
  AnswerEvent event;
};

}  // namespace strata
