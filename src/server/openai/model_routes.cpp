#include "server/openai/model_routes.h"

#include <algorithm>

#include "server/openai/api_error.h"
#include "server/openai/field_reader.h"
#include "server/openai/message_reader.h"
#include "text/utf8.h"

namespace strata {
namespace {

constexpr NumericField kToken{"tokens", 0, kInt32Max, true};

Json card_json(const std::string& id, const ModelCard& card, const Generator& generator) {
  const std::int64_t context = generator.options().context;
  Json capabilities = {{"completion", true},
                       {"chat", generator.can_chat()},
                       {"tools", generator.can_call_tools()},
                       {"reasoning", generator.can_think()},
                       {"structured_output", true}};
  return {{"id", id},
          {"object", "model"},
          {"created", card.created},
          {"owned_by", "strata"},
          {"max_model_len", context},
          {"meta",
           {{"architecture", card.architecture},
            {"n_ctx", context},
            {"n_ctx_train", card.longest_context},
            {"n_vocab", generator.tokenizer().vocab_size()},
            {"n_params", card.parameters},
            {"size", card.weight_bytes}}},
          {"capabilities", std::move(capabilities)}};
}

Json sampling_json(const SamplingDefault& sampling) {
  return {{"temperature", sampling.temperature},
          {"top_p", sampling.top_p},
          {"top_k", sampling.top_k},
          {"min_p", sampling.min_p},
          {"repetition_penalty", sampling.repetition_penalty}};
}

ChatPrompt read_chat_prompt(FieldReader& request, const RequestOptions& options) {
  ChatPrompt prompt;
  prompt.messages = read_messages(request, options.limits);
  prompt.tools = read_tools(request, options.limits);
  if (const Json* kwargs = request.object("chat_template_kwargs")) prompt.template_kwargs = *kwargs;
  prompt.add_generation_prompt = request.boolean("add_generation_prompt").value_or(true);
  return prompt;
}

/// A token's text, or its bytes where it has none by itself.
Json piece_json(TokenId token, const Tokenizer& tokenizer) {
  const std::string_view bytes = tokenizer.bytes(token);
  if (valid_utf8_prefix(bytes) == bytes.size()) return bytes;
  Json out = Json::array();
  for (const char byte : bytes) out.push_back(static_cast<unsigned char>(byte));
  return out;
}

}  // namespace

Json models_json(const ModelCard& card, const Generator& generator, const RequestOptions& options) {
  Json data = Json::array();
  for (const std::string& name : options.model_names) data.push_back(card_json(name, card, generator));
  return {{"object", "list"}, {"data", std::move(data)}};
}

Json model_json(std::string_view id, const ModelCard& card, const Generator& generator, const RequestOptions& options) {
  const auto& names = options.model_names;
  if (std::find(names.begin(), names.end(), id) == names.end())
    throw ApiError::model_not_found(std::string(id), names.empty() ? "" : names.front());
  return card_json(std::string(id), card, generator);
}

Json props_json(const ModelCard& card, const Generator& generator, const ChatTemplate* chat_template,
                const RequestOptions& options) {
  const SamplingDefaults& sampling = generator.options().sampling;
  const std::int64_t context = generator.options().context;
  return {{"n_ctx", context},
          {"total_slots", card.parallel},
          {"model_alias", options.model_names.empty() ? "" : options.model_names.front()},
          {"build_info", "strata " + card.version},
          {"default_generation_settings", {{"n_ctx", context}, {"params", sampling_json(sampling.thinking)}}},
          {"sampling",
           {{"thinking", sampling_json(sampling.thinking)},
            {"tools", sampling_json(sampling.tools)},
            {"plain", sampling_json(sampling.plain)}}},
          {"chat_template", chat_template != nullptr ? Json(chat_template->source()) : Json(nullptr)}};
}

Json tokenize_json(std::string_view body, const Generator& generator, const RequestOptions& options) {
  const Json json = parse_body(body, options.limits.json_depth);
  FieldReader request(json, "");
  const Tokenizer& tokenizer = generator.tokenizer();
  const auto content = request.string("content"), prompt = request.string("prompt");
  const bool messages = request.find("messages") != nullptr;
  if (content.has_value() + prompt.has_value() + messages != 1)
    throw ApiError::invalid_value("content", "expected one of content, prompt and messages");
  const bool special = request.boolean("add_special").value_or(request.boolean("add_special_tokens").value_or(true));
  const bool pieces = request.boolean("with_pieces").value_or(false);
  const std::vector<TokenId> tokens = messages
                                          ? generator.render(read_chat_prompt(request, options)).tokens
                                          : tokenizer.encode(content ? *content : *prompt, {.post_process = special});
  Json out = Json::array();
  for (const TokenId token : tokens) {
    if (pieces) {
      out.push_back({{"id", token}, {"piece", piece_json(token, tokenizer)}});
    } else {
      out.push_back(token);
    }
  }
  return {{"tokens", std::move(out)}, {"count", tokens.size()}, {"max_model_len", generator.options().context}};
}

Json detokenize_json(std::string_view body, const Generator& generator, const RequestOptions& options) {
  const Json json = parse_body(body, options.limits.json_depth);
  FieldReader request(json, "");
  const Json* ids = request.array("tokens", std::size_t{1} << 24);
  if (ids == nullptr) throw ApiError::invalid_value("tokens", "expected an array of tokens");
  NumericField field = kToken;
  field.max = static_cast<double>(generator.tokenizer().vocab_size() - 1);
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < ids->size(); ++i)
    tokens.push_back(static_cast<TokenId>(checked_number((*ids)[i], field, "tokens[" + std::to_string(i) + "]")));
  const std::string text = generator.tokenizer().decode(tokens);
  return {{"content", text}, {"prompt", text}};
}

Json apply_template_json(std::string_view body, const Generator& generator, const RequestOptions& options) {
  const Json json = parse_body(body, options.limits.json_depth);
  FieldReader request(json, "");
  const Generator::Rendered rendered = generator.render(read_chat_prompt(request, options));
  Json segments = Json::array();
  for (const TextSegment& segment : rendered.segments)
    segments.push_back({{"text", segment.text}, {"from_input", segment.from_input}});
  return {{"prompt", joined(rendered.segments)}, {"tokens", rendered.tokens}, {"segments", std::move(segments)}};
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace strata
