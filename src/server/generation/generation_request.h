// What is asked of the model, whatever API it was asked through.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/token.h"

namespace strata {

/// A conversation to answer.
struct ChatPrompt {
  Json messages;                          // as OpenAI's, shapes checked
  Json tools;                             // OpenAI's list, or null
  Json template_kwargs = Json::object();  // variables of the template, `enable_thinking` among them
  bool add_generation_prompt = true;
};

/// A text to go on with: as text, or as tokens.
using TextPrompt = std::variant<std::string, std::vector<TokenId>>;

enum class ToolChoice { none, automatic, required, named };

/// The shape that the answer must have, after its thinking.
struct FreeForm {};
struct JsonObjectForm {};
struct JsonSchemaForm {
  Json schema;
};
struct ChoiceForm {
  std::vector<std::string> texts;
};
using ResponseForm = std::variant<FreeForm, JsonObjectForm, JsonSchemaForm, ChoiceForm>;

/// Fields that aren't set take the model's defaults; values have been checked against the ranges of openai/fields.h.
struct GenerationRequest {
  std::variant<ChatPrompt, std::vector<TextPrompt>> prompt;
  int n = 1;  // answers to each prompt; choice = index of the prompt * n + index of the answer

  std::optional<float> temperature, top_p, min_p;
  std::optional<std::int32_t> top_k;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::uint64_t> seed;  // of choice 0; the others' follow from it
  /// By token, or by a text that must be one token.
  std::vector<std::pair<std::variant<TokenId, std::string>, float>> logit_bias;

  std::optional<std::int64_t> max_tokens;  // unset: to the end of the context
  std::int64_t min_tokens = 0;             // before the model may end the answer
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  bool include_stop_str_in_output = false;

  bool logprobs = false;
  std::int32_t top_logprobs = 0;
  std::optional<std::int32_t> prompt_logprobs;  // alternatives; unset: none are computed

  bool prompt_progress = false;  // whether PromptProgressed events come

  ToolChoice tool_choice = ToolChoice::automatic;
  std::string tool_name;                   // with ToolChoice::named
  std::vector<std::string> allowed_tools;  // of ChatPrompt::tools; empty: all
  bool parallel_tool_calls = true;
  ResponseForm response_form = FreeForm{};
  std::optional<std::int64_t> thinking_budget;  // tokens of thinking; unset: the server's
  /// "low", "medium", ...: a variable of the template where it has one, else a warning. ("none" is enable_thinking
  /// false.)
  std::string reasoning_effort;

  std::int64_t priority = 0;          // lower first
  std::string cache_salt;             // remembered states are shared between equal salts only
  std::vector<std::string> warnings;  // of reading the request; reported with the answer's
};

}  // namespace strata
