// Reading POST /v1/completions.
#include <algorithm>

#include "server/openai/chat_request.h"
#include "server/openai/common_fields.h"

namespace strata {
namespace {

constexpr NumericField kToken{"prompt", 0, kInt32Max, true};

std::vector<TokenId> read_tokens(const Json& tokens, const std::string& path) {
  std::vector<TokenId> out;
  out.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i)
    out.push_back(static_cast<TokenId>(checked_number(tokens[i], kToken, path + "[" + std::to_string(i) + "]")));
  return out;
}

/// A text, texts, tokens, or lists of tokens.
std::vector<TextPrompt> read_prompts(FieldReader& request, const RequestLimits& limits) {
  constexpr const char* kExpected = "a string, an array of strings, of tokens, or of arrays of tokens";
  const Json* prompt = request.find("prompt");
  if (prompt == nullptr) throw ApiError::invalid_value("prompt", std::string("expected ") + kExpected);
  std::vector<TextPrompt> out;
  if (prompt->is_string()) {
    out.emplace_back(prompt->get<std::string>());
    return out;
  }
  if (!prompt->is_array() || prompt->empty()) request.refuse("prompt", kExpected, *prompt);
  if (prompt->front().is_number()) {
    out.emplace_back(read_tokens(*prompt, "prompt"));
    return out;
  }
  if (prompt->size() > limits.prompts)
    request.refuse("prompt", "at most " + std::to_string(limits.prompts) + " prompts", *prompt);
  for (std::size_t i = 0; i < prompt->size(); ++i) {
    const Json& one = (*prompt)[i];
    const std::string name = "prompt[" + std::to_string(i) + "]";
    if (one.is_string()) {
      out.emplace_back(one.get<std::string>());
    } else if (one.is_array()) {
      out.emplace_back(read_tokens(one, name));
    } else {
      request.refuse(name, "a string or an array of tokens", one);
    }
  }
  return out;
}

void refuse_unsupported(FieldReader& request, int n) {
  if (const auto suffix = request.string("suffix"); suffix && !suffix->empty())
    throw ApiError::invalid_value("suffix", "it is not supported: this model only goes on from a text");
  const auto best = request.integer({"best_of", 1, kInt32Max, true});
  if (best && *best != n) throw ApiError::invalid_value("best_of", "it is not supported unless it is n");
}

}  // namespace

ApiRequest read_completion_request(std::string_view body, const RequestOptions& options) {
  const Json json = parse_body(body, options.limits.json_depth);
  FieldReader request(json, "");
  ApiRequest out;
  read_common_fields(request, options, out);
  GenerationRequest& generation = out.generation;
  refuse_unsupported(request, generation.n);
  generation.prompt = read_prompts(request, options.limits);
  generation.max_tokens = read_max_tokens(request, 0);
  if (!generation.max_tokens) generation.max_tokens = 16;  // OpenAI's default of this API
  const auto top = static_cast<double>(options.limits.top_logprobs);
  const auto logprobs = request.integer({"logprobs", 0, top, true});
  generation.logprobs = logprobs.has_value();
  generation.top_logprobs = static_cast<std::int32_t>(logprobs.value_or(0));
  out.response.logprobs = generation.logprobs;
  out.response.echo = request.boolean("echo").value_or(false);
  const auto prompt_logprobs = request.integer({"prompt_logprobs", 0, top, true});
  out.response.prompt_logprobs = prompt_logprobs.has_value();
  if (prompt_logprobs || (out.response.echo && logprobs))
    generation.prompt_logprobs = static_cast<std::int32_t>(std::max(prompt_logprobs.value_or(0), logprobs.value_or(0)));
  generation.response_form = read_response_form(request, options.limits);
  if (options.strict_fields) request.refuse_unknown();
  return out;
}

}  // namespace strata
