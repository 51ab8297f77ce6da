// POST /v1/chat/completions and POST /v1/completions: from JSON text to what is asked of the model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/generation/generation_request.h"
#include "server/openai/request_options.h"

namespace strata {

/// How the answer is to be written.
struct ResponseRequest {
  bool stream = false, include_usage = false;
  int n = 1;  // answers to each prompt
  bool logprobs = false;
  bool force_nonempty_content = false;  // where there is no content but thinking, the thinking is the content too
  ReasoningField reasoning_field = ReasoningField::both;
  bool echo = false, prompt_logprobs = false;  // of /v1/completions
};

/// A request that has been read and checked.
struct ApiRequest {
  GenerationRequest generation;
  ResponseRequest response;
  std::string model;                       // the served name, whatever alias was asked for
  std::optional<std::int64_t> timeout_ms;  // after that, Generation::stop(AnswerFinish::timeout)
};

/// Throws ApiError: 400 for JSON that is malformed, deeper than 64, not an object, or has a field of the wrong type,
/// out of its range or beyond a cap, with the field's path; 404 for another model.
ApiRequest read_chat_request(std::string_view body, const RequestOptions& options);
ApiRequest read_completion_request(std::string_view body, const RequestOptions& options);

}  // namespace strata
