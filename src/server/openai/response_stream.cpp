// Writing an answer as server-sent events.
#include <algorithm>
#include <utility>

#include "server/generation/tool_set.h"
#include "server/openai/answer_shape.h"
#include "server/openai/model_routes.h"
#include "server/openai/response_json.h"
#include "server/openai/responses.h"

namespace strata {
namespace {

constexpr const char* kDone = "data: [DONE]\n\n";

std::string json_string(std::string_view text) { return '"' + escape_json(text) + '"'; }

struct StreamedChoice {
  StreamedChoice(const ResponseRequest& request, const Tokenizer& tokenizer)
      : shape(request.reasoning_field, request.force_nonempty_content), legacy(tokenizer), echo(tokenizer, false) {}

  AnswerShape shape;
  CompletionLogprobs legacy;
  std::string chat_logprobs;  // that no chunk has carried yet, with commas between
  Json completion_logprobs;   // the same of a completion; null: none
  TextStream echo;
  std::size_t prompt_left = 0;  // tokens whose text is still to be echoed
  bool finished = false;
};

}  // namespace

/// Written by hand: most chunks are a few constant words about one delta, and there is one for each token.
struct ResponseStream::Impl {
  std::string on_event(int index, const AnswerEvent& event);
  std::string on_prompt(int index, const PromptTokens& prompt);
  std::string on_finished(int index, const Finished& finished);
  void take_logprobs(StreamedChoice& choice, const TokenLogprobs& logprobs);
  std::string chunk(int index, const std::string& content, const std::string& end = {}, const std::string& top = {});
  std::string text_chunk(int index, std::string_view text);
  std::string logprobs_of(StreamedChoice& choice);

  bool is_chat() const { return kind == ResponseKind::chat; }
  StreamedChoice& at(int index) { return choices.at(static_cast<std::size_t>(index)); }

  ResponseKind kind;
  ResponseRequest request;
  const Tokenizer& tokenizer;
  std::vector<std::vector<TokenId>> prompts;
  std::string before, after;  // of each chunk: the response's head, and usage
  std::vector<StreamedChoice> choices;
  Usage usage;
  bool complete = false;
};

ResponseStream::ResponseStream(ResponseKind kind, const ResponseHead& head, const ResponseRequest& request,
                               const Tokenizer& tokenizer, int choices, std::vector<std::vector<TokenId>> prompts)
    : impl_(new Impl{kind, request, tokenizer, std::move(prompts), {}, {}, {}, {}, false}) {
  impl_->before = "data: {\"id\":" + json_string(head.id) + ",\"object\":\"" +
                  (impl_->is_chat() ? "chat.completion.chunk" : "text_completion") +
                  "\",\"created\":" + std::to_string(head.created) + ",\"model\":" + json_string(head.model) +
                  ",\"system_fingerprint\":" + json_string(head.system_fingerprint) + ",\"choices\":[";
  impl_->after = request.include_usage ? ",\"usage\":null" : "";
  impl_->choices.reserve(static_cast<std::size_t>(choices));
  for (std::size_t i = 0; i < static_cast<std::size_t>(choices); ++i) {
    StreamedChoice& choice = impl_->choices.emplace_back(request, tokenizer);
    if (request.echo && i < impl_->prompts.size()) choice.prompt_left = impl_->prompts[i].size();
  }
}

ResponseStream::~ResponseStream() = default;
ResponseStream::ResponseStream(ResponseStream&&) noexcept = default;
bool ResponseStream::complete() const { return impl_->complete; }

std::string ResponseStream::begin() {
  std::string out;
  for (int i = 0; i < static_cast<int>(impl_->choices.size()); ++i) {
    if (impl_->is_chat()) {
      out += impl_->chunk(i, R"("delta":{"role":"assistant","content":""})");
    } else if (impl_->request.echo && !impl_->request.logprobs) {
      out += impl_->text_chunk(i, impl_->tokenizer.decode(impl_->prompts.at(static_cast<std::size_t>(i))));
    }
  }
  return out;
}

std::string ResponseStream::add(const ChoiceEvent& event) {
  if (impl_->complete) return {};
  if (const auto* finished = std::get_if<Finished>(&event.event);
      finished != nullptr && finished->reason == AnswerFinish::error) {
    return fail(error_of(*finished));
  }
  std::string out;
  impl_->at(event.choice).shape.apply(event.event, [&](const AnswerEvent& shown) {
    out += impl_->on_event(event.choice, shown);
  });
  const auto& choices = impl_->choices;
  if (!std::all_of(choices.begin(), choices.end(), [](const auto& c) { return c.finished; })) return out;
  impl_->complete = true;
  if (impl_->request.include_usage) out += impl_->before + "],\"usage\":" + dump(usage_json(impl_->usage)) + "}\n\n";
  return out + kDone;
}

std::string ResponseStream::fail(const ApiError& error) {
  if (impl_->complete) return {};
  impl_->complete = true;
  return "data: " + dump(error.body()) + "\n\n" + kDone;
}

std::string ResponseStream::Impl::on_event(int index, const AnswerEvent& event) {
  const auto call = [&](int number, const std::string& rest) {
    return chunk(index, "\"delta\":{\"tool_calls\":[{\"index\":" + std::to_string(number) + rest + "}]}");
  };
  if (const auto* text = std::get_if<TextDelta>(&event)) return text_chunk(index, text->text);
  if (const auto* reasoning = std::get_if<ReasoningDelta>(&event)) {
    const std::string text = json_string(reasoning->text);
    std::string delta;
    if (request.reasoning_field != ReasoningField::reasoning_content) delta = "\"reasoning\":" + text;
    if (request.reasoning_field != ReasoningField::reasoning)
      delta += (delta.empty() ? "" : ",") + ("\"reasoning_content\":" + text);
    return chunk(index, "\"delta\":{" + delta + "}");
  }
  if (const auto* begin = std::get_if<ToolCallBegin>(&event)) {
    return call(begin->index, ",\"id\":" + json_string(begin->id) + R"(,"type":"function","function":{"name":)" +
                                  json_string(begin->name) + R"(,"arguments":""})");
  }
  if (const auto* arguments = std::get_if<ToolArguments>(&event))
    return call(arguments->index, ",\"function\":{\"arguments\":" + json_string(arguments->fragment) + "}");
  if (const auto* progress = std::get_if<PromptProgressed>(&event)) {
    return chunk(index, is_chat() ? "\"delta\":{}" : "\"text\":\"\"", {},
                 ",\"prompt_progress\":" + dump(progress_json(*progress)));
  }
  if (const auto* prompt = std::get_if<PromptTokens>(&event)) return on_prompt(index, *prompt);
  if (const auto* finished = std::get_if<Finished>(&event)) return on_finished(index, *finished);
  if (const auto* logprobs = std::get_if<TokenLogprobs>(&event)) take_logprobs(at(index), *logprobs);
  return {};
}

void ResponseStream::Impl::take_logprobs(StreamedChoice& choice, const TokenLogprobs& logprobs) {
  if (!is_chat()) {
    if (choice.completion_logprobs.is_null()) choice.completion_logprobs = CompletionLogprobs::empty();
    return append_arrays(choice.completion_logprobs, choice.legacy.add(logprobs.tokens));
  }
  for (const TokenLogprob& token : logprobs.tokens) {
    if (!choice.chat_logprobs.empty()) choice.chat_logprobs += ',';
    choice.chat_logprobs += dump(chat_logprob_json(token, tokenizer));
  }
}

std::string ResponseStream::Impl::on_prompt(int index, const PromptTokens& prompt) {
  StreamedChoice& choice = at(index);
  std::string text, extra;
  if (request.echo && request.logprobs) {
    for (const TokenLogprob& token : prompt.tokens) {
      text += choice.echo.push(token.token);
      if (choice.prompt_left > 0 && --choice.prompt_left == 0) text += choice.echo.finish();
    }
    TokenLogprobs logprobs;
    logprobs.tokens = prompt.tokens;
    take_logprobs(choice, logprobs);
  }
  if (request.prompt_logprobs) extra = ",\"prompt_logprobs\":" + dump(prompt_logprobs_json(prompt.tokens, tokenizer));
  if (text.empty() && extra.empty()) return {};
  return chunk(index, "\"text\":" + json_string(text) + extra);
}

std::string ResponseStream::Impl::on_finished(int index, const Finished& finished) {
  at(index).finished = true;
  add_usage(usage, finished.usage, index % request.n == 0);
  std::string end = "\"" + std::string(name_of(finished.reason)) +
                    "\",\"stop_reason\":" + (finished.stop_string.empty() ? "null" : json_string(finished.stop_string));
  if (finished.reasoning_truncated) end += ",\"reasoning_truncated\":true";
  std::string top = ",\"timings\":" + dump(timings_json(finished));
  if (!finished.warnings.empty()) top += ",\"warnings\":" + dump(finished.warnings);
  return chunk(index, is_chat() ? "\"delta\":{}" : "\"text\":\"\"", end, top);
}

std::string ResponseStream::Impl::text_chunk(int index, std::string_view text) {
  return chunk(index,
               (is_chat() ? "\"delta\":{\"content\":" : "\"text\":") + json_string(text) + (is_chat() ? "}" : ""));
}

std::string ResponseStream::Impl::logprobs_of(StreamedChoice& choice) {
  if (is_chat()) {
    if (choice.chat_logprobs.empty()) return "null";
    return "{\"content\":[" + std::exchange(choice.chat_logprobs, {}) + "],\"refusal\":null}";
  }
  return dump(std::exchange(choice.completion_logprobs, nullptr));
}

/// `content`: the members of the choice that carry something; `end`: its finish_reason, and members after it; `top`:
/// members of the chunk.
std::string ResponseStream::Impl::chunk(int index, const std::string& content, const std::string& end,
                                        const std::string& top) {
  std::string out = before;
  out += "{\"index\":" + std::to_string(index) + ',' + content;
  out += ",\"logprobs\":" + logprobs_of(at(index));
  out += ",\"finish_reason\":" + (end.empty() ? "null" : end) + "}]" + after + top + "}\n\n";
  return out;
}

}  // namespace strata
