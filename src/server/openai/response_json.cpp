#include "server/openai/response_json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/utf8.h"

namespace strata {
namespace {

constexpr double kUnlikely = -9999.0;  // OpenAI's value for what can't be

/// Exact in JSON: a float has at most nine digits.
double finite(float logprob) { return std::isfinite(logprob) ? static_cast<double>(logprob) : kUnlikely; }

/// A token's text. One that ends inside a character is "bytes:\x.." as OpenAI has it, so that tokens stay distinct.
std::string token_text(TokenId token, const Tokenizer& tokenizer) {
  const std::string_view bytes = tokenizer.bytes(token);
  if (valid_utf8_prefix(bytes) == bytes.size()) return std::string(bytes);
  std::string text = "bytes:";
  for (const char byte : bytes) {
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    text += code;
  }
  return text;
}

Json bytes_json(TokenId token, const Tokenizer& tokenizer) {
  Json out = Json::array();
  for (const char byte : tokenizer.bytes(token)) out.push_back(static_cast<unsigned char>(byte));
  return out;
}

double per_second(std::int64_t n, double ms) { return ms > 0 ? static_cast<double>(n) * 1000 / ms : 0; }

}  // namespace

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

Json timings_json(const Finished& finished) {
  const Usage& usage = finished.usage;
  const GenerationTimings& times = finished.timings;
  const SamplingParameters& sampling = finished.sampling;
  const std::int64_t computed = usage.prompt_tokens - usage.cached_tokens;
  const std::int64_t later = std::max<std::int64_t>(0, usage.completion_tokens - 1);
  return {{"cache_n", usage.cached_tokens},
          {"queue_ms", times.queue_ms},
          {"prompt_n", computed},
          {"prompt_ms", times.prompt_ms},
          {"prompt_per_second", per_second(computed, times.prompt_ms)},
          {"predicted_n", usage.completion_tokens},
          {"predicted_ms", times.predicted_ms},
          {"predicted_per_second", per_second(later, times.predicted_ms)},
          {"sampling",
           {{"temperature", sampling.temperature},
            {"top_p", sampling.top_p},
            {"top_k", sampling.top_k},
            {"min_p", sampling.min_p},
            {"repetition_penalty", sampling.repetition_penalty},
            {"presence_penalty", sampling.presence_penalty},
            {"frequency_penalty", sampling.frequency_penalty},
            {"seed", sampling.seed}}}};
}

Json progress_json(const PromptProgressed& progress) {
  return {{"total", progress.prompt_tokens},
          {"cache", progress.cached_tokens},
          {"processed", progress.processed_tokens},
          {"time_ms", progress.ms}};
}

Json chat_logprob_json(const TokenLogprob& logprob, const Tokenizer& tokenizer) {
  const auto entry = [&](TokenId token, float value) -> Json {
    return {{"token", replace_invalid_utf8(tokenizer.bytes(token))},
            {"logprob", finite(value)},
            {"bytes", bytes_json(token, tokenizer)}};
  };
  Json out = entry(logprob.token, logprob.logprob);
  Json& top = out["top_logprobs"] = Json::array();
  for (const auto& [token, value] : logprob.top) top.push_back(entry(token, value));
  return out;
}

ApiError error_of(const Finished& finished) {
  std::optional<std::string> code;
  if (finished.numerical_error) code = "numerical_error";
  return {500, "server_error", code, finished.error};
}

void add_usage(Usage& sum, const Usage& choice, bool counts_prompt) {
  if (counts_prompt) {
    sum.prompt_tokens += choice.prompt_tokens;
    sum.cached_tokens += choice.cached_tokens;
  }
  sum.completion_tokens += choice.completion_tokens;
  sum.reasoning_tokens += choice.reasoning_tokens;
}

Json CompletionLogprobs::empty() {
  return {{"tokens", Json::array()},
          {"token_logprobs", Json::array()},
          {"top_logprobs", Json::array()},
          {"text_offset", Json::array()}};
}

Json CompletionLogprobs::add(const std::vector<TokenLogprob>& tokens) {
  Json out = empty();
  for (const TokenLogprob& logprob : tokens) {
    out["tokens"].push_back(token_text(logprob.token, tokenizer_));
    out["text_offset"].push_back(offset_);
    const std::string text = text_.push(logprob.token);
    offset_ += std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
    if (std::isnan(logprob.logprob)) {
      out["token_logprobs"].push_back(nullptr);
      out["top_logprobs"].push_back(nullptr);
      continue;
    }
    out["token_logprobs"].push_back(finite(logprob.logprob));
    Json top = Json::object();
    for (const auto& [token, value] : logprob.top) top.emplace(token_text(token, tokenizer_), finite(value));
    top.emplace(token_text(logprob.token, tokenizer_), finite(logprob.logprob));
    out["top_logprobs"].push_back(std::move(top));
  }
  return out;
}

Json prompt_logprobs_json(const std::vector<TokenLogprob>& tokens, const Tokenizer& tokenizer) {
  Json out = Json::array();
  for (const TokenLogprob& logprob : tokens) {
    if (std::isnan(logprob.logprob)) {
      out.push_back(nullptr);
      continue;
    }
    Json entry = Json::object();
    int rank = 0;
    for (const auto& [token, value] : logprob.top) {
      entry[std::to_string(token)] = {
          {"logprob", finite(value)}, {"rank", ++rank}, {"decoded_token", token_text(token, tokenizer)}};
    }
    if (Json& own = entry[std::to_string(logprob.token)]; own.is_null())
      own = {{"logprob", finite(logprob.logprob)}, {"decoded_token", token_text(logprob.token, tokenizer)}};
    out.push_back(std::move(entry));
  }
  return out;
}

void append_arrays(Json& all, const Json& more) {
  for (const auto& [key, values] : more.items())
    for (const Json& value : values) all[key].push_back(value);
}

}  // namespace strata
