// What a request was refused for, as OpenAI's clients read it.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include "base/json.h"

namespace strata {

/// Status and the four keys of an error body. Codes are those of docs/server.md.
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, std::string type, std::optional<std::string> code, const std::string& message,
           std::optional<std::string> param = std::nullopt);

  /// 400 invalid_request_error / invalid_value; `param`: the JSON path, as "messages[3].content".
  static ApiError invalid_value(const std::string& param, const std::string& message);
  static ApiError invalid_json(const std::string& message);
  static ApiError invalid_utf8(std::size_t byte);
  static ApiError model_not_found(const std::string& asked, const std::string& served);
  static ApiError unknown_route(const std::string& method, const std::string& path);
  static ApiError wrong_method(const std::string& method, const std::string& allowed);
  static ApiError not_supported(const std::string& message);

  int status() const { return status_; }
  const std::string& type() const { return type_; }
  const std::optional<std::string>& code() const { return code_; }
  const std::optional<std::string>& param() const { return param_; }
  /// Further members of the error object, as n_prompt_tokens.
  const Json& details() const { return details_; }
  ApiError with_details(Json details) &&;

  /// {"error": {"message", "type", "param", "code", …}}: param and code are strings or null.
  Json body() const;

 private:
  int status_;
  std::string type_;
  std::optional<std::string> code_, param_;
  Json details_ = Json::object();
};

/// What a caught exception is to a client: an ApiError as it is; ContextError, SchemaError, FieldError and Error{usage}
/// 400; Error{busy} 429 queue_full; anything else 500 server_error with `request_id` and nothing of the server's
/// insides.
ApiError api_error_of(const std::exception& error, const std::string& request_id);

}  // namespace strata
