#include "apps/chat_answer.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <utility>

#include "apps/progress.h"
#include "base/error.h"

namespace strata {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<bool> g_interrupted{false};
struct sigaction g_before;

void on_interrupt(int) {
  if (g_interrupted.exchange(true)) _exit(130);
}

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

/// A request until its last event; the answer's tokens go to `on_token` in turn.
FinishReason drive(Engine& engine, Request request, const std::function<void(TokenId)>& on_token,
                   const std::function<bool()>& enough) {
  FinishReason finish = FinishReason::none;
  std::string error;
  request.on_token = [&](const TokenEvent& event) {
    if (event.token >= 0 && on_token) on_token(event.token);
    finish = event.finish;
    error = event.error;
  };
  const RequestId id = engine.submit(std::move(request));
  for (bool cancelled = false; finish == FinishReason::none;) {
    if (!cancelled && (interrupted() || (enough && enough()))) {
      engine.cancel(id);
      cancelled = true;
    }
    if (!engine.step() && finish == FinishReason::none) {
      engine.cancel(id);
      engine.step();
      throw Error(ErrorCode::failure, "there is no room for the request's state");
    }
  }
  if (finish == FinishReason::failed || finish == FinishReason::numerical_error) throw Error(ErrorCode::failure, error);
  return finish;
}

/// What a conversation's next turn can start from: `prompt.stable` tokens are computed by themselves and set aside.
/// What comes back is a copy, or the state that was found if nothing is to be set aside.
std::optional<SequenceState> resume_from(Engine& engine, const Prompt& prompt, std::optional<SequenceState> state,
                                         ResumePoints& points) {
  const auto known = state ? static_cast<std::size_t>(state->length()) : 0;
  if (prompt.stable <= known || prompt.stable >= prompt.tokens.size()) return state;
  Request request;
  request.prompt.assign(prompt.tokens.begin(), prompt.tokens.begin() + static_cast<std::ptrdiff_t>(prompt.stable));
  request.max_tokens = 1;
  request.state = std::move(state);
  std::optional<SequenceState> reached;
  request.on_state = [&](SequenceState s, std::vector<TokenId>) { reached = std::move(s); };
  if (drive(engine, std::move(request), {}, {}) == FinishReason::cancelled || !reached) return std::nullopt;
  std::optional<SequenceState> copy = engine.pool().fork(*reached);
  if (!copy) return reached;
  points.keep(std::move(*reached),
              {prompt.tokens.begin(), prompt.tokens.begin() + static_cast<std::ptrdiff_t>(prompt.stable)});
  return copy;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  g_interrupted = false;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, &g_before);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &g_before, nullptr); }

bool interrupted() { return g_interrupted; }
void clear_interrupt() { g_interrupted = false; }

double Answer::prompt_per_second() const {
  return times.prompt_ms > 0 ? static_cast<double>(prompt_tokens - cached_tokens) / times.prompt_ms * 1000 : 0;
}

double Answer::predicted_per_second() const {
  return times.predicted_ms > 0 ? static_cast<double>(completion_tokens - 1) / times.predicted_ms * 1000 : 0;
}

std::optional<SequenceState> ResumePoints::take(const std::vector<TokenId>& prompt) {
  std::optional<SequenceState> best;
  for (Point& point : points_) {
    const std::vector<TokenId>& tokens = point.tokens;
    if (tokens.empty() || tokens.size() >= prompt.size() || !std::equal(tokens.begin(), tokens.end(), prompt.begin())) {
      continue;
    }
    if (!best || best->length() < point.state.length()) best = std::move(point.state);
  }
  points_.clear();
  return best;
}

Prompt conversation_prompt(const ChatModel& model, const Json& request, bool find_stable) {
  Prompt prompt;
  const ChatTemplate& chat = *model.chat_template();
  prompt.tokens = model.tokenizer().encode(chat.render(template_context(request)));
  if (!find_stable) return prompt;
  Json later = request;
  later["messages"].push_back({{"role", "assistant"}, {"content", "x"}});
  later["messages"].push_back({{"role", "user"}, {"content", "y"}});
  try {
    const std::vector<TokenId> next = model.tokenizer().encode(chat.render(template_context(later)));
    const auto differ = std::mismatch(prompt.tokens.begin(), prompt.tokens.end(), next.begin(), next.end()).first;
    prompt.stable = static_cast<std::size_t>(differ - prompt.tokens.begin());
  } catch (const Error&) {  // a template that refuses such a conversation: each turn is computed as a whole
  }
  return prompt;
}

Answer generate(ChatModel& model, const Prompt& prompt, const AnswerOptions& options, const AnswerText::Show& show,
                ResumePoints* resume) {
  const Clock::time_point start = Clock::now();
  Answer answer;
  answer.prompt_tokens = std::ssize(prompt.tokens);
  Request request;
  request.prompt = prompt.tokens;
  request.sampling = options.sampling;
  request.max_tokens = options.max_tokens;
  request.stop_tokens = model.stop_tokens();
  if (resume) {
    std::optional<SequenceState> state = resume->take(prompt.tokens);
    answer.cached_tokens = state ? state->length() : 0;
    request.state = resume_from(model.engine(), prompt, std::move(state), *resume);
    request.on_state = [resume](SequenceState state_after, std::vector<TokenId> tokens) {
      resume->keep(std::move(state_after), std::move(tokens));
    };
  }

  AnswerText text(model.tokenizer(), prompt.tokens, options.stops, prompt.verbatim, show);
  Clock::time_point first = start, last = start;
  const auto on_token = [&](TokenId token) {
    last = Clock::now();
    if (answer.completion_tokens++ == 0) first = last;
    const std::vector<TokenId>& stops = model.stop_tokens();
    if (std::find(stops.begin(), stops.end(), token) == stops.end()) text.push(token);
  };
  answer.finish =
      drive(model.engine(), std::move(request), on_token, [&] { return text.stopped() || (show && std::cout.fail()); });
  text.finish();
  if (text.stopped()) answer.finish = FinishReason::stop;
  answer.reasoning = text.reasoning();
  answer.content = text.content();
  answer.times.prompt_ms = ms_between(start, first);
  answer.times.predicted_ms = ms_between(first, last);
  answer.times.first_token_ms = ms_between(prompt.asked, first);
  return answer;
}

std::string describe_speed(const Answer& answer) {
  const auto whole = [](double value) { return format_count(static_cast<std::int64_t>(value + 0.5)); };
  std::string text = format_count(answer.prompt_tokens - answer.cached_tokens) + " prompt tokens";
  if (answer.cached_tokens > 0) text += " (and " + format_count(answer.cached_tokens) + " known)";
  text += " in " + whole(answer.times.prompt_ms) + " ms (" + whole(answer.prompt_per_second()) + " tok/s), " +
          format_count(answer.completion_tokens) + " tokens in " + whole(answer.times.predicted_ms) + " ms (" +
          whole(answer.predicted_per_second()) + " tok/s), first token after " + whole(answer.times.first_token_ms) +
          " ms";
  return text;
}

}  // namespace strata
