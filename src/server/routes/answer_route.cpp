// /v1/chat/completions, /v1/completions and DELETE /v1/requests/{id}: answers from the engine to their clients.
#include <algorithm>
#include <cmath>
#include <ctime>

#include "server/routes/api_service.h"

namespace strata {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPing{10};
/// A body that is cheaper to parse, render and tokenise than to hand to another thread and back.
constexpr std::size_t kSmallBody = 8 << 10;

/// Events on their way from the engine's thread to the handler.
class Inbox {
 public:
  explicit Inbox(std::shared_ptr<http::Waker> waker) : waker_(std::move(waker)) {}

  /// The engine's thread.
  void put(ChoiceEvent event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    waker_->wake();
  }
  /// Swaps what has come into `events`, which is cleared.
  void take(std::vector<ChoiceEvent>& events) {
    events.clear();
    const std::lock_guard lock(mutex_);
    events_.swap(events);
  }

 private:
  std::shared_ptr<http::Waker> waker_;
  std::mutex mutex_;
  std::vector<ChoiceEvent> events_;
};

/// Whether compiling what it asks for may take long.
bool has_schema(std::string_view body) {
  for (const char* word : {"\"response_format\"", "\"structured_outputs\"", "\"tools\""}) {
    if (body.find(word) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

struct ApiService::Answer {
  ApiService& service;
  const std::vector<std::string> ids;
  std::optional<std::int64_t> timeout_ms;
  std::shared_ptr<Inbox> inbox;
  Clock::time_point deadline = Clock::time_point::max();
  bool paused = false;
  Generation generation;  // last: no event comes after it is gone

  Answer(ApiService& s, std::vector<std::string> i) : service(s), ids(std::move(i)) {
    service.active_.push_back(this);
    for (const std::string& id : ids) service.by_id_[id] = this;
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() {
    std::erase(service.active_, this);
    for (const std::string& id : ids) {
      if (const auto it = service.by_id_.find(id); it != service.by_id_.end() && it->second == this)
        service.by_id_.erase(it);
    }
  }

  /// Nothing is computed for a client that doesn't read: the answer pauses where the send buffer is full, until half of
  /// it is taken.
  void keep_pace(const http::Exchange& exchange) {
    const bool pause = paused ? !exchange.drained() : exchange.full();
    if (pause != paused) generation.pause(pause);
    paused = pause;
  }

  void stop_if_due() {
    if (Clock::now() < deadline) return;
    deadline = Clock::time_point::max();
    generation.stop(AnswerFinish::timeout);
  }
};

/// What reading and preparing a request comes to, on whatever thread.
struct ApiService::PreparedAnswer {
  std::string body;
  std::optional<ApiRequest> request;
  std::optional<PreparedRequest> prepared;
  std::exception_ptr error;

  void run(ResponseKind kind, const Generator& generator, const RequestOptions& options) {
    try {
      request = kind == ResponseKind::chat ? read_chat_request(body, options) : read_completion_request(body, options);
      prepared.emplace(generator.prepare(std::move(request->generation)));
    } catch (...) {
      error = std::current_exception();
    }
  }
};

std::string ApiService::retry_after() const {
  const EngineStats stats = engine_stats();
  const double parallel = static_cast<double>(std::max<std::int64_t>(model_.card.parallel, 1));
  const double wait = static_cast<double>(stats.waiting + stats.parked + 1) / parallel * metrics_.mean_answer_seconds();
  return std::to_string(static_cast<int>(std::clamp(std::ceil(wait), 1.0, 60.0)));
}

void ApiService::refuse_if_queue_is_full() const {
  if (options_.max_queue <= 0 || engine_stats().waiting < options_.max_queue) return;
  throw ApiError(429, "rate_limit_error", "queue_full",
                 std::to_string(options_.max_queue) + " requests wait already (--max-queue); try again later");
}

http::Task<> ApiService::answer(http::Exchange& exchange, ResponseKind kind) {
  const auto work = std::make_shared<PreparedAnswer>();
  work->body = exchange.take_body();
  Generator& generator = *model_.generator;
  if (work->body.size() <= kSmallBody && !has_schema(work->body)) {
    work->run(kind, generator, options_.requests);
  } else {
    const auto run = [work, kind, &generator, &requests = options_.requests] { work->run(kind, generator, requests); };
    const bool here = co_await run_in(pool_, exchange, run);
    if (!here) co_return;
  }
  if (work->error) std::rethrow_exception(work->error);
  const ApiRequest& request = *work->request;
  const int choices = work->prepared->choices();
  std::vector<std::vector<TokenId>> prompts;
  for (int c = 0; request.response.echo && c < choices; ++c) {
    const auto tokens = work->prepared->prompt(c);
    prompts.emplace_back(tokens.begin(), tokens.end());
  }
  metrics_.on_request(choices, work->prepared->max_tokens(0));
  const ResponseHead head{new_response_id(kind), std::time(nullptr), request.model, options_.fingerprint};

  Answer answer(*this, {exchange.request().id, head.id});
  answer.inbox = std::make_shared<Inbox>(exchange.waker());
  answer.generation = generator.start(std::move(*work->prepared),
                                      [inbox = answer.inbox](ChoiceEvent event) { inbox->put(std::move(event)); });
  if (request.timeout_ms) answer.deadline = Clock::now() + std::chrono::milliseconds(*request.timeout_ms);
  const Tokenizer& tokenizer = generator.tokenizer();
  if (request.response.stream) {
    ResponseStream out(kind, head, request.response, tokenizer, choices, std::move(prompts));
    co_await stream_answer(exchange, answer, out);
  } else {
    ResponseBody body(kind, head, request.response, tokenizer, choices, std::move(prompts));
    co_await collect_answer(exchange, answer, body);
  }
}

http::Task<> ApiService::stream_answer(http::Exchange& exchange, Answer& answer, ResponseStream& out) {
  http::Response head{200,
                      {{"content-type", "text/event-stream; charset=utf-8"},
                       {"cache-control", "no-cache"},
                       {"x-accel-buffering", "no"}},
                      ""};
  decorate(head, &exchange.request());
  exchange.begin_stream(std::move(head));
  exchange.send(out.begin());
  std::vector<ChoiceEvent> events;
  std::string bytes;
  while (!exchange.gone() && !out.complete()) {
    if (!exchange.full()) {
      answer.inbox->take(events);
      bytes.clear();
      for (const ChoiceEvent& event : events) bytes += out.add(event);
      if (!bytes.empty()) exchange.send(bytes);
      if (out.complete()) break;
      if (Clock::now() - exchange.last_sent() >= kPing) exchange.send(ResponseStream::kKeepAlive);
    }
    answer.keep_pace(exchange);
    answer.stop_if_due();
    exchange.wake_at(std::min(answer.deadline, exchange.last_sent() + kPing));
    co_await exchange.wake_up();
  }
  if (!exchange.gone()) exchange.end_stream();
}

http::Task<> ApiService::collect_answer(http::Exchange& exchange, Answer& answer, ResponseBody& body) {
  std::vector<ChoiceEvent> events;
  while (true) {
    answer.inbox->take(events);
    for (const ChoiceEvent& event : events) body.add(event);
    if (exchange.gone()) co_return;
    if (body.complete()) break;
    answer.stop_if_due();
    exchange.wake_at(answer.deadline);
    co_await exchange.wake_up();
  }
  http::Response response = json_response(body.json(), exchange.request());
  std::string warnings;
  for (const std::string& warning : body.warnings()) warnings += (warnings.empty() ? "" : ", ") + warning;
  if (!warnings.empty()) response.fields.emplace_back("x-strata-warning", warnings);
  exchange.respond(std::move(response));
}

http::Task<> ApiService::chat_completions(http::Exchange& exchange) { return answer(exchange, ResponseKind::chat); }
http::Task<> ApiService::completions(http::Exchange& exchange) { return answer(exchange, ResponseKind::completion); }

http::Task<> ApiService::delete_request(http::Exchange& exchange) {
  const std::string id = exchange.request().path.substr(std::string_view("/v1/requests/").size());
  const auto found = by_id_.find(id);
  if (!http::is_plain_name(id) || found == by_id_.end()) {
    throw ApiError(404, "not_found_error", "request_not_found",
                   "no request of that id is being answered; the id is in x-request-id or in the answer's \"id\"");
  }
  found->second->generation.stop(AnswerFinish::abort);
  exchange.respond(json_response({{"id", id}, {"object", "request"}, {"deleted", true}}, exchange.request()));
  co_return;
}

void ApiService::abort_answers() {
  for (Answer* answer : active_) answer->generation.stop(AnswerFinish::abort);
}

}  // namespace strata
