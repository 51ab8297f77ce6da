// From what is asked to what the engine is given: all that can be wrong with a request is found here.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>

#include "server/generation/chat_prompt.h"
#include "server/generation/generator_impl.h"
#include "server/generation/prepared_request.h"

namespace strata {
namespace {

std::string counted(std::int64_t n, const char* what) { return std::to_string(n) + " " + what; }

/// Random, and exact in a double, because clients read it as one.
std::uint64_t random_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 20 ^ device()) & ((std::uint64_t{1} << 53) - 1);
}

void check_token(const Tokenizer& tokenizer, TokenId token, const std::string& field) {
  if (token < 0 || token >= tokenizer.vocab_size()) {
    throw FieldError(field, "token " + std::to_string(token) + " is none of this model's, which are 0 to " +
                                std::to_string(tokenizer.vocab_size() - 1));
  }
}

SamplingParameters sampling_of(const GenerationRequest& request, const SamplingDefault& defaults,
                               const Tokenizer& tokenizer) {
  SamplingParameters sampling;
  sampling.temperature = request.temperature.value_or(defaults.temperature);
  sampling.top_p = request.top_p.value_or(defaults.top_p);
  sampling.min_p = request.min_p.value_or(defaults.min_p);
  sampling.top_k = request.top_k.value_or(defaults.top_k);
  sampling.repetition_penalty = request.repetition_penalty.value_or(defaults.repetition_penalty);
  sampling.presence_penalty = request.presence_penalty.value_or(0);
  sampling.frequency_penalty = request.frequency_penalty.value_or(0);
  sampling.seed = request.seed ? *request.seed : random_seed();
  sampling.logprobs = request.logprobs;
  sampling.top_logprobs = std::max(request.top_logprobs, request.prompt_logprobs.value_or(0));
  for (const auto& [what, bias] : request.logit_bias) {
    TokenId token = 0;
    if (const auto* text = std::get_if<std::string>(&what)) {
      const std::vector<TokenId> tokens = tokenizer.encode(*text, {.post_process = false});
      if (tokens.size() != 1) {
        throw FieldError("logit_bias", "\"" + *text + "\" is " + counted(std::ssize(tokens), "tokens") +
                                           "; a bias is given to one token, by its id or its exact text");
      }
      token = tokens[0];
    } else {
      token = std::get<TokenId>(what);
    }
    check_token(tokenizer, token, "logit_bias");
    sampling.logit_bias.emplace_back(token, bias);
  }
  return sampling;
}

}  // namespace

ContextError::ContextError(std::int64_t prompt_tokens, std::int64_t context, std::int64_t answer_tokens)
    : Error(ErrorCode::usage, "the prompt has " + counted(prompt_tokens, "tokens") + " and its answer needs at least " +
                                  std::to_string(answer_tokens) + ", but the context holds " +
                                  counted(context, "tokens") + "; shorten the messages"),
      prompt_tokens_(prompt_tokens),
      context_(context) {}

FieldError::FieldError(const std::string& field, const std::string& why)
    : Error(ErrorCode::usage, field + ": " + why), field_(field) {}

PreparedRequest::PreparedRequest(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
PreparedRequest::PreparedRequest(PreparedRequest&&) noexcept = default;
PreparedRequest& PreparedRequest::operator=(PreparedRequest&&) noexcept = default;
PreparedRequest::~PreparedRequest() = default;

int PreparedRequest::choices() const { return static_cast<int>(parts_->prompts.size()) * parts_->request.n; }

std::int64_t PreparedRequest::prompt_tokens() const {
  std::int64_t tokens = 0;
  for (const PreparedPrompt& prompt : parts_->prompts) tokens += std::ssize(prompt.tokens);
  return tokens;
}

std::span<const TokenId> PreparedRequest::prompt(int choice) const {
  return parts_->prompts[static_cast<std::size_t>(choice / parts_->request.n)].tokens;
}

std::int64_t PreparedRequest::max_tokens(int choice) const {
  return parts_->prompts[static_cast<std::size_t>(choice / parts_->request.n)].max_tokens;
}

bool PreparedRequest::thinking() const { return parts_->thinking; }

void Generator::Impl::check_size(std::size_t bytes, std::int64_t context) const {
  const auto least = static_cast<std::int64_t>(bytes / longest_token);
  if (least > context) throw ContextError(least, context, 1);
}

std::int64_t Generator::Impl::room(std::int64_t prompt_tokens, const GenerationRequest& request,
                                   std::int64_t context) const {
  std::int64_t least = std::max<std::int64_t>(1, request.min_tokens);
  if (request.max_tokens) least = std::min(least, *request.max_tokens);
  if (prompt_tokens + least > context) throw ContextError(prompt_tokens, context, least);
  return std::min(request.max_tokens.value_or(context), context - prompt_tokens);
}

Generator::Rendered Generator::render(const ChatPrompt& prompt) const {
  if (chat_template_ == nullptr) {
    throw Error(ErrorCode::usage, "this model has no chat template; give a text to /v1/completions");
  }
  Rendered rendered;
  rendered.segments = render_chat(*chat_template_, prompt);
  std::size_t bytes = 0;
  for (const TextSegment& segment : rendered.segments) bytes += segment.text.size();
  impl_->check_size(bytes, options_.context);
  rendered.tokens = tokenizer_.encode(rendered.segments);
  return rendered;
}

PreparedRequest Generator::prepare(GenerationRequest request) const {
  auto parts = std::make_unique<PreparedRequest::Parts>();
  parts->request = std::move(request);
  parts->chat = std::holds_alternative<ChatPrompt>(parts->request.prompt);
  if (parts->chat) {
    impl_->prepare_chat(*this, *parts);
  } else {
    impl_->prepare_texts(*this, *parts);
  }
  const GenerationRequest& asked = parts->request;
  if (asked.max_tokens && asked.min_tokens > *asked.max_tokens)
    throw FieldError("min_tokens", counted(asked.min_tokens, "are more than max_tokens allows"));
  for (PreparedPrompt& prompt : parts->prompts)
    prompt.max_tokens = impl_->room(std::ssize(prompt.tokens), asked, options_.context);
  const bool calls = parts->tools != nullptr;
  parts->sampling = sampling_of(asked, options_.sampling.of(calls, parts->thinking), tokenizer_);
  if (!asked.ignore_eos) parts->stop_tokens = options_.stop_tokens;
  for (const TokenId token : asked.stop_token_ids) {
    check_token(tokenizer_, token, "stop_token_ids");
    parts->stop_tokens.push_back(token);
  }
  const auto begun = std::chrono::steady_clock::now();
  impl_->prepare_form(*parts);
  if (parts->grammar && observer_ != nullptr) observer_->on_grammar(std::chrono::steady_clock::now() - begun);
  const std::optional<std::int64_t> budget = asked.thinking_budget ? asked.thinking_budget : options_.thinking_budget;
  if (budget && parts->thinking && impl_->marks.token(Mark::think_end)) parts->thinking_budget = *budget;
  return PreparedRequest(std::move(parts));
}

void Generator::Impl::prepare_chat(const Generator& generator, PreparedRequest::Parts& parts) const {
  auto& chat = std::get<ChatPrompt>(parts.request.prompt);
  const ChatTemplate* const chat_template = generator.chat_template_;
  if (generator.options_.normalize_history) drop_old_thinking(chat);
  if (const std::string& effort = parts.request.reasoning_effort; !effort.empty()) {
    const std::string variable = effort + "_effort";
    if (chat_template != nullptr && chat_template->source().find(variable) != std::string::npos) {
      chat.template_kwargs[variable] = true;
    } else {
      parts.request.warnings.emplace_back("reasoning_effort_ignored");
    }
  }
  Rendered rendered = generator.render(chat);
  PreparedPrompt prompt;
  prompt.tokens = std::move(rendered.tokens);
  if (prompt.tokens.empty()) throw FieldError("messages", "the chat template makes an empty prompt of them");
  parts.thinking = marks.leave_thinking(prompt.tokens);
  room(std::ssize(prompt.tokens), parts.request, generator.options_.context);
  prompt.snapshots = snapshot_points(*chat_template, generator.tokenizer_, chat, rendered.segments, prompt.tokens);
  if (generator.options_.replay_calls)
    calls.replay(chat.messages, generator.tokenizer_, marks, prompt.tokens, prompt.snapshots);
  parts.prompts.push_back(std::move(prompt));
  if (!chat.tools.is_null() && !chat.tools.empty() && parts.request.tool_choice != ToolChoice::none)
    parts.tools = std::make_shared<const ToolSet>(chat.tools, parts.request.allowed_tools);
}

void Generator::Impl::prepare_texts(const Generator& generator, PreparedRequest::Parts& parts) const {
  const auto& texts = std::get<std::vector<TextPrompt>>(parts.request.prompt);
  for (const TextPrompt& text : texts) {
    PreparedPrompt prompt;
    if (const auto* tokens = std::get_if<std::vector<TokenId>>(&text)) {
      for (const TokenId token : *tokens) check_token(generator.tokenizer_, token, "prompt");
      prompt.tokens = *tokens;
    } else {
      const auto& characters = std::get<std::string>(text);
      check_size(characters.size(), generator.options_.context);
      prompt.tokens = generator.tokenizer_.encode(characters);
    }
    if (prompt.tokens.empty()) throw FieldError("prompt", "it has no tokens; a model needs at least one to go on from");
    parts.prompts.push_back(std::move(prompt));
  }
}

void Generator::Impl::prepare_form(PreparedRequest::Parts& parts) const {
  const GenerationRequest& request = parts.request;
  if (parts.tools && request.tool_choice != ToolChoice::automatic) {
    Json callable = Json::array();
    for (const Json& tool : std::get<ChatPrompt>(request.prompt).tools)
      if (parts.tools->find(tool["function"]["name"].get_ref<const std::string&>()) != nullptr)
        callable.push_back(tool);
    std::optional<std::string_view> name;
    if (request.tool_choice == ToolChoice::named) name = request.tool_name;
    parts.grammar = compiler.tool_calls(callable, name);
    parts.grammar_of_calls = true;
    if (!std::holds_alternative<FreeForm>(request.response_form)) {
      throw FieldError("response_format", "an answer can't be calls of tools, as tool_choice says, and have this form");
    }
  } else if (std::holds_alternative<JsonObjectForm>(request.response_form)) {
    parts.grammar = compiler.json_object();
  } else if (const auto* schema = std::get_if<JsonSchemaForm>(&request.response_form)) {
    parts.grammar = compiler.json_schema(schema->schema);
  } else if (const auto* choice = std::get_if<ChoiceForm>(&request.response_form)) {
    parts.grammar = compiler.choice(choice->texts);
  }
  if (parts.grammar && (request.ignore_eos || request.min_tokens > 0)) {
    throw FieldError(request.ignore_eos ? "ignore_eos" : "min_tokens",
                     "an answer of a given form ends where the form does; leave this out");
  }
}

}  // namespace strata
