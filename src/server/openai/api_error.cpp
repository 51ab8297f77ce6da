#include "server/openai/api_error.h"

#include <utility>

#include "server/constrained/schema_error.h"
#include "server/generation/generator.h"

namespace strata {
namespace {

constexpr const char* kInvalid = "invalid_request_error";

}  // namespace

ApiError::ApiError(int status, std::string type, std::optional<std::string> code, const std::string& message,
                   std::optional<std::string> param)
    : std::runtime_error(message),
      status_(status),
      type_(std::move(type)),
      code_(std::move(code)),
      param_(std::move(param)) {}

ApiError ApiError::invalid_value(const std::string& param, const std::string& message) {
  return {400, kInvalid, "invalid_value", param + ": " + message, param};
}

ApiError ApiError::invalid_json(const std::string& message) { return {400, kInvalid, "invalid_json", message}; }

ApiError ApiError::invalid_utf8(std::size_t byte) {
  return {400, kInvalid, "invalid_utf8", "the request body is not valid UTF-8 at byte " + std::to_string(byte)};
}

ApiError ApiError::model_not_found(const std::string& asked, const std::string& served) {
  return {404, "not_found_error", "model_not_found",
          "the model \"" + asked + "\" is not served here; this server has \"" + served + "\"", "model"};
}

ApiError ApiError::unknown_route(const std::string& method, const std::string& path) {
  return {404, "not_found_error", std::nullopt, "there is nothing at " + method + " " + path};
}

ApiError ApiError::wrong_method(const std::string& method, const std::string& allowed) {
  return {405, kInvalid, std::nullopt, method + " is not possible here; " + allowed + " is"};
}

ApiError ApiError::not_supported(const std::string& message) {
  return {501, "not_supported_error", std::nullopt, message};
}

ApiError ApiError::with_details(Json details) && {
  details_ = std::move(details);
  return std::move(*this);
}

Json ApiError::body() const {
  Json error = {{"message", what()}, {"type", type_}, {"param", nullptr}, {"code", nullptr}};
  if (param_) error["param"] = *param_;
  if (code_) error["code"] = *code_;
  for (const auto& [key, value] : details_.items()) error[key] = value;
  return {{"error", std::move(error)}};
}

ApiError api_error_of(const std::exception& error, const std::string& request_id) {
  if (const auto* known = dynamic_cast<const ApiError*>(&error)) return *known;
  if (const auto* context = dynamic_cast<const ContextError*>(&error)) {
    return ApiError(400, kInvalid, "context_length_exceeded", context->what(), "messages")
        .with_details({{"n_prompt_tokens", context->prompt_tokens()}, {"n_ctx", context->context()}});
  }
  if (const auto* schema = dynamic_cast<const SchemaError*>(&error)) {
    return {400, kInvalid, "unsupported_schema", schema->what(),
            "response_format.json_schema.schema" + schema->pointer()};
  }
  if (const auto* field = dynamic_cast<const FieldError*>(&error))
    return {400, kInvalid, "invalid_value", field->what(), field->field()};
  if (const auto* known = dynamic_cast<const Error*>(&error)) {
    if (known->code() == ErrorCode::usage) return {400, kInvalid, "invalid_value", known->what()};
    if (known->code() == ErrorCode::busy) return {429, "rate_limit_error", "queue_full", known->what()};
  }
  return {500, "server_error", std::nullopt,
          "the server failed to answer request " + request_id + "; its log says why"};
}

}  // namespace strata
