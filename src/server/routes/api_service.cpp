#include "server/routes/api_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace strata {
namespace {

using http::Response;

/// What an OpenAI client calls a status.
std::string type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 500:
      return "server_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return "invalid_request_error";
  }
}

bool matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with("{id}")) return pattern == path;
  pattern.remove_suffix(4);
  return path.size() > pattern.size() && path.starts_with(pattern);
}

std::string allowed_methods(std::string_view path) {
  std::string methods;
  for (const ApiService::Route& route : ApiService::routes()) {
    if (!matches(route.path, path)) continue;
    methods += std::string(methods.empty() ? "" : ", ") + std::string(route.method);
    if (route.method == "GET") methods += ", HEAD";
  }
  return methods.empty() ? methods : methods + ", OPTIONS";
}

}  // namespace

const std::vector<ApiService::Route>& ApiService::routes() {
  static const std::vector<Route> routes = {
      {"GET", "/", true, false, &ApiService::page},
      {"GET", "/health", true, false, &ApiService::health},
      {"GET", "/ready", true, false, &ApiService::ready},
      {"GET", "/metrics", false, false, &ApiService::metrics},
      {"GET", "/version", false, false, &ApiService::version},
      {"GET", "/props", false, true, &ApiService::props},
      {"GET", "/v1/models", false, true, &ApiService::models},
      {"GET", "/v1/models/{id}", false, true, &ApiService::model},
      {"POST", "/v1/chat/completions", false, true, &ApiService::chat_completions},
      {"POST", "/v1/completions", false, true, &ApiService::completions},
      {"POST", "/tokenize", false, true, &ApiService::tokenize},
      {"POST", "/detokenize", false, true, &ApiService::detokenize},
      {"POST", "/apply-template", false, true, &ApiService::apply_template},
      {"DELETE", "/v1/requests/{id}", false, true, &ApiService::delete_request},
      {"POST", "/v1/embeddings", false, false, &ApiService::not_offered},
      {"POST", "/v1/rerank", false, false, &ApiService::not_offered},
      {"POST", "/rerank", false, false, &ApiService::not_offered},
      {"POST", "/v1/audio/transcriptions", false, false, &ApiService::not_offered},
      {"POST", "/v1/images/generations", false, false, &ApiService::not_offered},
  };
  return routes;
}

ApiService::ApiService(ServiceOptions options, ServerMetrics& metrics, WorkPool& pool)
    : options_(std::move(options)),
      metrics_(metrics),
      pool_(pool),
      hosts_(options_.allowed_hosts, options_.any_host),
      origins_(options_.cors_origins) {}

ApiService::~ApiService() = default;

void ApiService::set_model(LoadedModel model) {
  model_ = std::move(model);
  if (state_ == State::loading) state_ = State::ready;
}

const ApiService::Route* ApiService::find_route(const http::Request& head) const {
  const std::string_view method = head.method == "HEAD" ? std::string_view("GET") : std::string_view(head.method);
  for (const Route& route : routes()) {
    if (route.method == method && matches(route.path, head.path)) return &route;
  }
  return nullptr;
}

void ApiService::check_host_and_origin(const http::Request& head) const {
  const std::string* host = head.field("host");
  if (host && !hosts_.allows(*host)) {
    throw ApiError(403, "permission_error", "host_not_allowed",
                   "the Host \"" + host_name(*host) + "\" is not served; start strata with --allowed-host " +
                       (host_name(*host).empty() ? "NAME" : host_name(*host)) + " if it is meant to be");
  }
  const std::string* origin = head.field("origin");
  if (origin && !origins_.allows(*origin, host ? std::string_view(*host) : std::string_view())) {
    throw ApiError(
        403, "permission_error", "origin_not_allowed",
        "pages of other origins may not ask; start strata with --cors-origin ORIGIN if this one is meant to");
  }
}

void ApiService::check_key(const http::Request& head) const {
  if (!keys_.required()) return;
  const std::string_view shown = shown_key(head.field("authorization"), head.field("x-api-key"));
  if (!shown.empty() && keys_.find(shown)) return;
  throw ApiError(401, "authentication_error", "invalid_api_key",
                 shown.empty() ? "an API key is needed: send it as \"authorization: Bearer KEY\" or \"x-api-key: KEY\""
                               : "the API key is not one of this server's");
}

const ApiService::Route& ApiService::check_route(const http::Request& head) const {
  if (const Route* route = find_route(head)) return *route;
  const std::string allowed = allowed_methods(head.path);
  throw allowed.empty() ? ApiError::unknown_route(head.method, head.path)
                        : ApiError::wrong_method(head.method, allowed);
}

void ApiService::check_state(const Route& route) const {
  if (!route.needs_model || state_ == State::ready) return;
  if (state_ == State::loading)
    throw ApiError(503, "unavailable_error", "loading", "the model is still being loaded; try again in a moment");
  if (state_ == State::draining)
    throw ApiError(503, "unavailable_error", "draining", "the server is being stopped; ask another one");
  throw ApiError(503, "unavailable_error", "stalled", "the engine stands still; the server is about to end");
}

void ApiService::check_content(const http::Request& head) const {
  const std::string* type = head.field("content-type");
  if (head.method != "POST" || !type || !head.has_body()) return;
  std::string name = type->substr(0, type->find(';'));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  while (name.ends_with(' ')) name.pop_back();
  if (name == "application/json") return;
  throw ApiError(415, "invalid_request_error", "unsupported_media_type",
                 "a body is JSON: send \"content-type: application/json\"");
}

std::optional<Response> ApiService::refuse(const http::Request& head) {
  try {
    check_host_and_origin(head);
    if (head.method == "OPTIONS") return std::nullopt;
    const Route* known = find_route(head);
    if (!known || !known->open) check_key(head);
    const Route& route = check_route(head);
    if (route.handler != &ApiService::not_offered) check_content(head);
    check_state(route);
    if (route.handler == &ApiService::chat_completions || route.handler == &ApiService::completions)
      refuse_if_queue_is_full();
    return std::nullopt;
  } catch (const ApiError& e) {
    return error_response(e, &head);
  }
}

http::Task<> ApiService::handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  if (request.method == "OPTIONS") {
    Response response{
        204, {{"allow", request.path == "*" ? "GET, HEAD, POST, DELETE, OPTIONS" : allowed_methods(request.path)}}, ""};
    if (response.fields[0].second.empty()) {
      response = error_response(ApiError::unknown_route(request.method, request.path), &request);
    } else if (request.field("access-control-request-method")) {
      response.fields.emplace_back("access-control-allow-methods", response.fields[0].second);
      response.fields.emplace_back("access-control-allow-headers",
                                   "authorization, content-type, x-api-key, x-request-id");
      response.fields.emplace_back("access-control-max-age", "600");
      decorate(response, &request);
    } else {
      decorate(response, &request);
    }
    exchange.respond(std::move(response));
    co_return;
  }
  std::optional<Response> failed;
  try {
    co_await (this->*find_route(request)->handler)(exchange);
  } catch (const std::exception& e) {
    const ApiError error = api_error_of(e, request.id);
    if (error.status() == 500)
      spdlog::error("request {}: {} {}: {}", request.id, request.method, request.path, e.what());
    failed = error_response(error, &request);
  }
  if (failed && !exchange.responded()) exchange.respond(std::move(*failed));
}

Response ApiService::error_response(const ApiError& error, const http::Request* head) const {
  Response response{error.status(), {{"content-type", "application/json"}}, dump(error.body())};
  if (error.status() == 401) response.fields.emplace_back("www-authenticate", "Bearer");
  if (error.status() == 429) response.fields.emplace_back("retry-after", retry_after());
  if (error.status() == 503) response.fields.emplace_back("retry-after", "1");
  if (error.status() == 405 && head) response.fields.emplace_back("allow", allowed_methods(head->path));
  decorate(response, head);
  return response;
}

Response ApiService::json_response(const Json& json, const http::Request& request) const {
  return json_text_response(dump(json), request);
}

Response ApiService::json_text_response(std::string json, const http::Request& request) const {
  Response response{200, {{"content-type", "application/json"}}, std::move(json)};
  decorate(response, &request);
  return response;
}

void ApiService::decorate(Response& response, const http::Request* head) const {
  response.fields.emplace_back("x-content-type-options", "nosniff");
  const std::string* origin = head ? head->field("origin") : nullptr;
  if (!origin) return;
  if (std::string allow = origins_.allow_header(*origin); !allow.empty()) {
    response.fields.emplace_back("access-control-allow-origin", std::move(allow));
    response.fields.emplace_back("access-control-expose-headers", "x-request-id, x-strata-warning, retry-after");
    response.fields.emplace_back("vary", "origin");
  }
}

Response ApiService::refused(const http::Refusal& refusal, const http::Request* head) {
  std::optional<std::string> code;
  if (!refusal.code.empty()) code = refusal.code;
  return error_response(ApiError(refusal.status, type_of(refusal.status), code, refusal.message), head);
}

void ApiService::finished(const Finished& finished) {
  const Route* route = finished.head ? find_route(*finished.head) : nullptr;
  const double seconds = std::chrono::duration<double>(finished.duration).count();
  const std::string_view method = finished.head && (route || finished.head->method == "OPTIONS")
                                      ? std::string_view(finished.head->method)
                                      : std::string_view("other");
  metrics_.on_http(route ? route->path : std::string_view("other"), method, finished.status, seconds,
                   finished.request_bytes, finished.response_bytes);
  if (finished.status == 429) metrics_.on_rejected("queue_full");
  if (finished.client_slow) {
    metrics_.on_slow_client();
    spdlog::warn("request {}: the client did not read its answer and was cut off",
                 finished.head ? finished.head->id : "");
  }
  if (!finished.head) return spdlog::debug("unreadable request: {}", finished.status);
  spdlog::debug("request {}: {} {} {} in {:.1f} ms{}", finished.head->id, finished.head->method, finished.head->path,
                finished.client_gone ? 499 : finished.status, seconds * 1000,
                finished.client_gone ? ", the client went" : "");
}

}  // namespace strata
