// Events of answers to the JSON of /v1/chat/completions and /v1/completions, whole or as a stream.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/generation/event.h"
#include "server/openai/api_error.h"
#include "server/openai/chat_request.h"
#include "text/tokenizer.h"

namespace strata {

/// What every object of one response has in common.
struct ResponseHead {
  std::string id;            // "chatcmpl-…" or "cmpl-…"
  std::int64_t created = 0;  // Unix seconds
  std::string model;
  std::string system_fingerprint;
};

/// Which of the two APIs.
enum class ResponseKind { chat, completion };

/// "chatcmpl-" or "cmpl-" and 24 random hex digits.
std::string new_response_id(ResponseKind kind);

/// Collects an answer that isn't streamed. Not thread-safe: events on one strand.
class ResponseBody {
 public:
  /// `tokenizer` must outlive it. `prompts`: the tokens of each choice's prompt, wanted with `echo` only.
  ResponseBody(ResponseKind kind, ResponseHead head, const ResponseRequest& request, const Tokenizer& tokenizer,
               int choices, std::vector<std::vector<TokenId>> prompts = {});
  ~ResponseBody();
  ResponseBody(ResponseBody&&) noexcept;

  void add(const ChoiceEvent& event);
  /// All choices have finished.
  bool complete() const;
  /// The response, once complete. Throws ApiError{500} if a choice ended with an error: `server_error`, or
  /// `numerical_error`.
  Json json() const;
  /// Short names for the header x-strata-warning, each once.
  std::vector<std::string> warnings() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes an answer as server-sent events, by the rules of docs/server.md. Each string it returns is whole events
/// ("data: {…}\n\n"), to be sent as they are; empty if there is nothing to send yet. Not thread-safe: events on one
/// strand.
class ResponseStream {
 public:
  /// As ResponseBody.
  ResponseStream(ResponseKind kind, const ResponseHead& head, const ResponseRequest& request,
                 const Tokenizer& tokenizer, int choices, std::vector<std::vector<TokenId>> prompts = {});
  ~ResponseStream();
  ResponseStream(ResponseStream&&) noexcept;

  /// To be sent when the request is admitted, before any event: of a chat each choice's role.
  std::string begin();
  /// What an event adds. With the last choice's Finished that is also the usage, if asked for, and "data: [DONE]". A
  /// choice that ends with an error ends the stream: the error, [DONE], and complete() from then on.
  std::string add(const ChoiceEvent& event);
  /// The stream ends here with `error` and [DONE].
  std::string fail(const ApiError& error);
  bool complete() const;

  /// A comment that keeps proxies from closing a silent connection.
  static constexpr const char* kKeepAlive = ": ping\n\n";

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata
