// Collecting an answer that isn't streamed.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "server/generation/call_id.h"
#include "server/openai/answer_shape.h"
#include "server/openai/response_json.h"
#include "server/openai/responses.h"

namespace strata {
namespace {

struct CollectedCall {
  std::string id, name, arguments;
};

struct CollectedChoice {
  CollectedChoice(const ResponseRequest& request, const Tokenizer& tokenizer)
      : shape(request.reasoning_field, request.force_nonempty_content), legacy(tokenizer) {}

  AnswerShape shape;
  std::string reasoning, content;
  std::vector<CollectedCall> calls;
  CompletionLogprobs legacy;
  Json logprobs;  // of a chat an array, of a completion the four arrays
  Json prompt_logprobs = Json::array();
  std::optional<Finished> finished;
};

}  // namespace

std::string new_response_id(ResponseKind kind) { return random_id(kind == ResponseKind::chat ? "chatcmpl-" : "cmpl-"); }

struct ResponseBody::Impl {
  void take(CollectedChoice& choice, const AnswerEvent& event);
  Json chat_choice(const CollectedChoice& choice) const;
  Json completion_choice(const CollectedChoice& choice) const;

  ResponseKind kind;
  ResponseHead head;
  ResponseRequest request;
  const Tokenizer& tokenizer;
  std::vector<CollectedChoice> choices;
};

ResponseBody::ResponseBody(ResponseKind kind, ResponseHead head, const ResponseRequest& request,
                           const Tokenizer& tokenizer, int choices, std::vector<std::vector<TokenId>> prompts)
    : impl_(new Impl{kind, std::move(head), request, tokenizer, {}}) {
  impl_->choices.reserve(static_cast<std::size_t>(choices));
  for (std::size_t i = 0; i < static_cast<std::size_t>(choices); ++i) {
    CollectedChoice& choice = impl_->choices.emplace_back(request, tokenizer);
    choice.logprobs = kind == ResponseKind::chat ? Json::array() : CompletionLogprobs::empty();
    if (request.echo && i < prompts.size()) choice.content = tokenizer.decode(prompts[i]);
  }
}

ResponseBody::~ResponseBody() = default;
ResponseBody::ResponseBody(ResponseBody&&) noexcept = default;

void ResponseBody::add(const ChoiceEvent& event) {
  CollectedChoice& choice = impl_->choices.at(static_cast<std::size_t>(event.choice));
  choice.shape.apply(event.event, [&](const AnswerEvent& shown) { impl_->take(choice, shown); });
}

void ResponseBody::Impl::take(CollectedChoice& choice, const AnswerEvent& event) {
  if (const auto* reasoning = std::get_if<ReasoningDelta>(&event)) {
    choice.reasoning += reasoning->text;
  } else if (const auto* text = std::get_if<TextDelta>(&event)) {
    choice.content += text->text;
  } else if (const auto* begin = std::get_if<ToolCallBegin>(&event)) {
    choice.calls.push_back({begin->id, begin->name, ""});
  } else if (const auto* arguments = std::get_if<ToolArguments>(&event)) {
    choice.calls.at(static_cast<std::size_t>(arguments->index)).arguments += arguments->fragment;
  } else if (const auto* logprobs = std::get_if<TokenLogprobs>(&event)) {
    if (kind == ResponseKind::completion) return append_arrays(choice.logprobs, choice.legacy.add(logprobs->tokens));
    for (const TokenLogprob& token : logprobs->tokens) choice.logprobs.push_back(chat_logprob_json(token, tokenizer));
  } else if (const auto* prompt = std::get_if<PromptTokens>(&event)) {
    if (request.echo && request.logprobs) append_arrays(choice.logprobs, choice.legacy.add(prompt->tokens));
    if (request.prompt_logprobs)
      for (Json& entry : prompt_logprobs_json(prompt->tokens, tokenizer))
        choice.prompt_logprobs.push_back(std::move(entry));
  } else if (const auto* finished = std::get_if<Finished>(&event)) {
    choice.finished = *finished;
    if (finished->unfinished_call < 0) return;
    choice.calls.resize(static_cast<std::size_t>(finished->unfinished_call));
    choice.content += finished->unfinished_text;
  }
}

bool ResponseBody::complete() const {
  return std::all_of(impl_->choices.begin(), impl_->choices.end(),
                     [](const auto& c) { return c.finished.has_value(); });
}

Json ResponseBody::Impl::chat_choice(const CollectedChoice& choice) const {
  Json message = {{"role", "assistant"}, {"content", choice.content}, {"refusal", nullptr}};
  const ReasoningField field = request.reasoning_field;
  if (!choice.reasoning.empty()) {
    if (field != ReasoningField::reasoning_content) message["reasoning"] = choice.reasoning;
    if (field != ReasoningField::reasoning) message["reasoning_content"] = choice.reasoning;
  }
  if (!choice.calls.empty()) {
    if (choice.content.empty()) message["content"] = nullptr;
    Json& calls = message["tool_calls"] = Json::array();
    for (const CollectedCall& call : choice.calls) {
      calls.push_back(
          {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
  }
  Json logprobs;
  if (request.logprobs) logprobs = {{"content", choice.logprobs}, {"refusal", nullptr}};
  return {{"message", std::move(message)}, {"logprobs", std::move(logprobs)}};
}

Json ResponseBody::Impl::completion_choice(const CollectedChoice& choice) const {
  Json out = {{"text", choice.content}, {"logprobs", nullptr}};
  if (request.logprobs) out["logprobs"] = choice.logprobs;
  if (request.prompt_logprobs) out["prompt_logprobs"] = choice.prompt_logprobs;
  return out;
}

Json ResponseBody::json() const {
  CHECK(complete(), "all choices have finished");
  const bool chat = impl_->kind == ResponseKind::chat;
  Json choices = Json::array();
  Usage usage;
  for (std::size_t i = 0; i < impl_->choices.size(); ++i) {
    const CollectedChoice& choice = impl_->choices[i];
    const Finished& finished = *choice.finished;
    if (finished.reason == AnswerFinish::error) throw error_of(finished);
    Json out = {{"index", i}};
    out.update(chat ? impl_->chat_choice(choice) : impl_->completion_choice(choice));
    out["finish_reason"] = name_of(finished.reason);
    out["stop_reason"] = nullptr;
    if (!finished.stop_string.empty()) out["stop_reason"] = finished.stop_string;
    if (finished.reasoning_truncated) out["reasoning_truncated"] = true;
    choices.push_back(std::move(out));
    add_usage(usage, finished.usage, i % static_cast<std::size_t>(impl_->request.n) == 0);
  }
  const ResponseHead& head = impl_->head;
  Json response = {{"id", head.id},
                   {"object", chat ? "chat.completion" : "text_completion"},
                   {"created", head.created},
                   {"model", head.model},
                   {"system_fingerprint", head.system_fingerprint},
                   {"choices", std::move(choices)},
                   {"usage", usage_json(usage)},
                   {"timings", timings_json(*impl_->choices.front().finished)}};
  if (const std::vector<std::string> names = warnings(); !names.empty()) response["warnings"] = names;
  return response;
}

std::vector<std::string> ResponseBody::warnings() const {
  std::vector<std::string> names;
  for (const CollectedChoice& choice : impl_->choices) {
    if (!choice.finished) continue;
    for (const std::string& name : choice.finished->warnings)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace strata
