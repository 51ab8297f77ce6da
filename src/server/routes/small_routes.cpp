// The routes that answer at once: the page, health, metrics, facts about the model, texts and tokens.
#include "server/routes/api_service.h"

namespace strata {
namespace {

using http::Response;

/// A body that is cheaper to parse, render and tokenise than to hand to another thread and back.
constexpr std::size_t kSmallBody = 8 << 10;

std::string decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) {
      const char c = at < text.size() ? text[at] : 'x';
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                    : -1;
    };
    if (text[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0) {
      result += static_cast<char>(digit(i + 1) * 16 + digit(i + 2));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string id_in_path(const http::Request& request, std::string_view prefix) {
  return decoded(std::string_view(request.path).substr(prefix.size()));
}

}  // namespace

http::Task<> ApiService::page(http::Exchange& exchange) {
  Response response{200,
                    {{"content-type", "text/html; charset=utf-8"},
                     {"content-security-policy", options_.page.content_security_policy},
                     {"referrer-policy", "no-referrer"},
                     {"cross-origin-opener-policy", "same-origin"},
                     {"cache-control", "no-cache"}},
                    std::string(options_.page.html)};
  decorate(response, &exchange.request());
  exchange.respond(std::move(response));
  co_return;
}

http::Task<> ApiService::health(http::Exchange& exchange) {
  exchange.respond(json_response({{"status", "ok"}}, exchange.request()));
  co_return;
}

http::Task<> ApiService::ready(http::Exchange& exchange) {
  static constexpr const char* kNames[] = {"loading", "ready", "draining", "stalled"};
  Response response = json_response({{"status", kNames[static_cast<std::size_t>(state_)]}}, exchange.request());
  if (state_ != State::ready) {
    response.status = 503;
    response.fields.emplace_back("retry-after", "1");
  }
  exchange.respond(std::move(response));
  co_return;
}

http::Task<> ApiService::metrics(http::Exchange& exchange) {
  ServerMetrics::HttpFacts facts;
  if (server_)
    facts = {
        .connections = server_->connections(), .accepted = server_->accepted(), .turned_away = server_->turned_away()};
  Response response{
      200, {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}}, metrics_.text(engine_stats(), facts)};
  decorate(response, &exchange.request());
  exchange.respond(std::move(response));
  co_return;
}

http::Task<> ApiService::version(http::Exchange& exchange) {
  exchange.respond(json_response({{"version", options_.version}}, exchange.request()));
  co_return;
}

http::Task<> ApiService::props(http::Exchange& exchange) {
  exchange.respond(json_response(props_json(model_.card, *model_.generator, model_.chat_template, options_.requests),
                                 exchange.request()));
  co_return;
}

http::Task<> ApiService::models(http::Exchange& exchange) {
  exchange.respond(json_response(models_json(model_.card, *model_.generator, options_.requests), exchange.request()));
  co_return;
}

http::Task<> ApiService::model(http::Exchange& exchange) {
  const std::string id = id_in_path(exchange.request(), "/v1/models/");
  exchange.respond(
      json_response(model_json(id, model_.card, *model_.generator, options_.requests), exchange.request()));
  co_return;
}

http::Task<> ApiService::text_route(http::Exchange& exchange, TextRoute route) {
  struct Work {
    std::string body, answer;
    std::exception_ptr error;
  };
  const auto work = std::make_shared<Work>();
  work->body = exchange.take_body();
  const std::function<void()> run = [work, route, generator = model_.generator, &requests = options_.requests] {
    try {
      work->answer = dump(route(work->body, *generator, requests));
    } catch (...) {
      work->error = std::current_exception();
    }
  };
  if (work->body.size() <= kSmallBody) {
    run();
  } else {
    const bool here = co_await run_in(pool_, exchange, run);
    if (!here) co_return;
  }
  if (work->error) std::rethrow_exception(work->error);
  exchange.respond(json_text_response(std::move(work->answer), exchange.request()));
}

http::Task<> ApiService::tokenize(http::Exchange& exchange) { return text_route(exchange, &tokenize_json); }
http::Task<> ApiService::detokenize(http::Exchange& exchange) { return text_route(exchange, &detokenize_json); }
http::Task<> ApiService::apply_template(http::Exchange& exchange) { return text_route(exchange, &apply_template_json); }

http::Task<> ApiService::not_offered(http::Exchange& exchange) {
  throw ApiError::not_supported(
      exchange.request().path +
      ": this model writes text and does nothing else; /v1/chat/completions is the way to ask it");
  co_return;
}

}  // namespace strata
