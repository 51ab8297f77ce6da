// The HTTP service behind the server: who may ask, which route answers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/generation/generator.h"
#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/http/service.h"
#include "server/metrics/server_metrics.h"
#include "server/openai/api_error.h"
#include "server/openai/chat_request.h"
#include "server/openai/model_routes.h"
#include "server/openai/responses.h"
#include "server/policy/api_keys.h"
#include "server/policy/host_check.h"
#include "server/routes/work_pool.h"

namespace strata {

/// The chat page: one file and what its security policy is.
struct StaticPage {
  std::string_view html;
  std::string content_security_policy;
};

struct ServiceOptions {
  RequestOptions requests;
  std::vector<std::string> allowed_hosts, cors_origins;
  bool any_host = false;  // others are meant to reach it, by names it doesn't know
  std::int64_t max_queue = 256;
  std::string version, fingerprint;
  StaticPage page;
};

/// A model that answers. All must outlive the service.
struct LoadedModel {
  Engine* engine = nullptr;
  Generator* generator = nullptr;
  const ChatTemplate* chat_template = nullptr;
  ModelCard card;
};

/// All on the I/O thread, but where said.
class ApiService final : public http::Service {
 public:
  enum class State { loading, ready, draining, stalled };

  ApiService(ServiceOptions options, ServerMetrics& metrics, WorkPool& pool);
  ~ApiService() override;

  /// Of the server whose service this is, for its numbers.
  void set_server(const http::Server* server) { server_ = server; }
  void set_keys(ApiKeys keys) { keys_ = std::move(keys); }
  /// The model is there: State::ready, unless it is draining.
  void set_model(LoadedModel model);
  void set_state(State state) { state_ = state; }
  State state() const { return state_; }

  /// Answers under way.
  std::size_t active() const { return active_.size(); }
  /// Ends them with finish_reason "abort".
  void abort_answers();
  EngineStats engine_stats() const { return model_.engine ? model_.engine->stats() : EngineStats{}; }

  std::optional<http::Response> refuse(const http::Request& head) override;
  http::Task<> handle(http::Exchange& exchange) override;
  http::Response refused(const http::Refusal& refusal, const http::Request* head) override;
  void finished(const Finished& finished) override;

  /// A route: what it answers to, and how. `path` may end with "{id}", which stands for the rest.
  struct Route {
    std::string_view method, path;
    bool open = false;         // needs no key
    bool needs_model = false;  // 503 while there is none
    http::Task<> (ApiService::*handler)(http::Exchange&) = nullptr;
  };
  static const std::vector<Route>& routes();

 private:
  struct Answer;  // one under way, known by its ids
  struct PreparedAnswer;

  const Route* find_route(const http::Request& head) const;
  /// Refusals in the order in which they are looked for; each throws ApiError.
  void check_host_and_origin(const http::Request& head) const;
  void check_key(const http::Request& head) const;
  const Route& check_route(const http::Request& head) const;
  void check_state(const Route& route) const;
  void check_content(const http::Request& head) const;

  http::Response error_response(const ApiError& error, const http::Request* head) const;
  http::Response json_response(const Json& json, const http::Request& request) const;
  http::Response json_text_response(std::string json, const http::Request& request) const;
  void decorate(http::Response& response, const http::Request* head) const;

  http::Task<> page(http::Exchange& exchange);
  http::Task<> health(http::Exchange& exchange);
  http::Task<> ready(http::Exchange& exchange);
  http::Task<> metrics(http::Exchange& exchange);
  http::Task<> version(http::Exchange& exchange);
  http::Task<> props(http::Exchange& exchange);
  http::Task<> models(http::Exchange& exchange);
  http::Task<> model(http::Exchange& exchange);
  http::Task<> tokenize(http::Exchange& exchange);
  http::Task<> detokenize(http::Exchange& exchange);
  http::Task<> apply_template(http::Exchange& exchange);
  http::Task<> chat_completions(http::Exchange& exchange);
  http::Task<> completions(http::Exchange& exchange);
  http::Task<> delete_request(http::Exchange& exchange);
  http::Task<> not_offered(http::Exchange& exchange);

  using TextRoute = Json (*)(std::string_view, const Generator&, const RequestOptions&);
  http::Task<> text_route(http::Exchange& exchange, TextRoute route);

  // Answers (answer_route.cpp).
  http::Task<> answer(http::Exchange& exchange, ResponseKind kind);
  http::Task<> stream_answer(http::Exchange& exchange, Answer& answer, ResponseStream& out);
  http::Task<> collect_answer(http::Exchange& exchange, Answer& answer, ResponseBody& body);
  void refuse_if_queue_is_full() const;
  std::string retry_after() const;

  const ServiceOptions options_;
  ServerMetrics& metrics_;
  WorkPool& pool_;
  const HostCheck hosts_;
  const OriginCheck origins_;
  ApiKeys keys_;
  LoadedModel model_;
  State state_ = State::loading;
  const http::Server* server_ = nullptr;
  std::map<std::string, Answer*, std::less<>> by_id_;  // by request and by response id
  std::vector<Answer*> active_;
};

}  // namespace strata
