// Pieces of responses that whole and streamed ones share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/generation/event.h"
#include "server/openai/api_error.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

namespace strata {

/// {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}.
Json usage_json(const Usage& usage);

/// llama-server's names, and the sampling that was in effect.
Json timings_json(const Finished& finished);

/// llama-server's {"total", "cache", "processed", "time_ms"}.
Json progress_json(const PromptProgressed& progress);

/// OpenAI's {"token", "logprob", "bytes", "top_logprobs"}.
Json chat_logprob_json(const TokenLogprob& logprob, const Tokenizer& tokenizer);

/// The error of a choice that ended with one.
ApiError error_of(const Finished& finished);

/// Usage of a whole response: each prompt counts once, whatever `n`.
void add_usage(Usage& sum, const Usage& choice, bool counts_prompt);

/// The legacy log probabilities of one choice: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}. Offsets are
/// in characters from the start of the choice's text, or where a token begins inside a character, of that character.
class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(const Tokenizer& tokenizer) : tokenizer_(tokenizer), text_(tokenizer, false) {}
  Json add(const std::vector<TokenLogprob>& tokens);
  static Json empty();

 private:
  const Tokenizer& tokenizer_;
  TextStream text_;
  std::int64_t offset_ = 0;
};

/// vLLM's prompt_logprobs of some tokens: null for the prompt's first, else {"id": {"logprob", "decoded_token",
/// "rank"}}, with a rank for those among the likeliest.
Json prompt_logprobs_json(const std::vector<TokenLogprob>& tokens, const Tokenizer& tokenizer);

/// Appends the elements of each array of `more` to that of `all`.
void append_arrays(Json& all, const Json& more);

}  // namespace strata
