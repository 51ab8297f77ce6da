// What `strata run` was asked for, and what the checkpoint says where it wasn't.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/chat_answer.h"

namespace strata {

struct RunOptions {
  std::optional<std::string> first, second;  // [MODEL] [PROMPT]
  std::optional<std::string> model, prompt;  // the same as flags
  std::optional<std::string> system;
  MachineOptions machine;
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::int32_t> top_k;
  std::optional<std::uint64_t> seed;
  std::int64_t max_tokens = -1;
  std::vector<std::string> stops;
  std::string thinking;  // "on", "off" or, as the model's template has it, empty
  bool json = false;
};

void add_run_options(CLI::App& command, RunOptions& options);

/// Which folder to run and which prompt, if there is one on the command line. A single argument is the model if
/// names_model says so, else the prompt of the demo model.
struct ModelAndPrompt {
  std::filesystem::path model;
  std::optional<std::string> prompt;
};
ModelAndPrompt resolve_words(const RunOptions& options);

/// The flags over generation_config.json: greedy unless it samples, then its temperature, top_p, top_k, min_p and
/// repetition_penalty. A seed that isn't given is drawn. Throws Error{usage} or, for the file's values,
/// Error{bad_model}.
AnswerOptions resolve_answer_options(const RunOptions& options, const ChatModel& model);

/// "temperature 0.6, top-p 0.95, seed 42 (generation_config.json)".
std::string describe(const AnswerOptions& options);

}  // namespace strata
