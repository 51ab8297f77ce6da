#include "apps/run_command.h"

#include <unistd.h>

#include <cmath>
#include <iostream>
#include <iterator>
#include <memory>

#include "apps/chat.h"
#include "apps/chat_display.h"
#include "apps/run_command_options.h"
#include "base/error.h"

namespace strata {
namespace {

std::string read_piped_prompt() {
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (std::cin.bad()) throw Error(ErrorCode::failure, "stdin can't be read");
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

/// What `--json` prints.
Json as_json(const Answer& answer, double load_ms) {
  return {{"reasoning", answer.reasoning},
          {"content", answer.content},
          {"finish_reason", name_of(answer.finish)},
          {"usage",
           {{"prompt_tokens", answer.prompt_tokens},
            {"completion_tokens", answer.completion_tokens},
            {"total_tokens", answer.prompt_tokens + answer.completion_tokens}}},
          {"timings",
           {{"load_ms", rounded(load_ms)},
            {"prompt_ms", rounded(answer.times.prompt_ms)},
            {"prompt_per_second", rounded(answer.prompt_per_second())},
            {"predicted_ms", rounded(answer.times.predicted_ms)},
            {"predicted_per_second", rounded(answer.predicted_per_second())},
            {"first_token_ms", rounded(answer.times.first_token_ms)}}}};
}

Prompt one_prompt(const ChatModel& model, const RunOptions& options, const std::string& text) {
  if (!model.chat_template()) {
    std::cerr << "note      the model has no chat template: the prompt is continued as it is\n";
    Prompt prompt;
    prompt.tokens = model.tokenizer().encode(text);
    prompt.verbatim = true;
    return prompt;
  }
  return conversation_prompt(model, new_conversation(options, text), false);
}

void answer_once(ChatModel& model, const RunOptions& options, const AnswerOptions& wishes, const std::string& text) {
  const Prompt prompt = one_prompt(model, options, text);
  const InterruptGuard guard;
  AnswerDisplay display;
  AnswerText::Show show;
  if (!options.json) show = [&](AnswerPart part, std::string_view piece) { display.show(part, piece); };
  const Answer answer = generate(model, prompt, wishes, show);
  display.finish();
  if (options.json) std::cout << as_json(answer, model.load_ms()).dump(2) << std::endl;
  std::fprintf(stderr, "%s, loaded in %.0f ms\n", describe_speed(answer).c_str(), model.load_ms());
  if (answer.finish == FinishReason::length) {
    std::fputs("note      the answer was cut off: --max-tokens or the context was reached\n", stderr);
  }
  if (answer.finish == FinishReason::cancelled && interrupted()) throw CLI::RuntimeError("interrupted", 130);
}

void run(const RunOptions& options) {
  auto [folder, prompt] = resolve_words(options);
  const bool interactive = !prompt && isatty(STDIN_FILENO);
  if (interactive && options.json) throw Error(ErrorCode::usage, "--json needs a prompt: give one, or pipe it in");
  if (!prompt && !interactive) prompt = read_piped_prompt();
  if (prompt && prompt->empty()) {
    throw Error(ErrorCode::usage, "the prompt is empty: write it as strata run MODEL \"PROMPT\", or pipe it in");
  }
  ChatModel model(folder, options.machine, interactive);
  const AnswerOptions wishes = resolve_answer_options(options, model);
  std::cerr << "sampling  " << describe(wishes) << '\n';
  if (interactive) {
    chat(model, options, wishes);
  } else {
    answer_once(model, options, wishes, *prompt);
  }
}

}  // namespace

void add_run_command(CLI::App& program) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = program.add_subcommand("run", "Answer one prompt, or chat in the terminal.");
  add_run_options(*command, *options);
  command->footer(
      "The answer goes to stdout; thinking, plan and speed go to stderr.\n"
      "A single argument is MODEL if it is a folder, a path or org/name, else it is PROMPT for the demo model.\n"
      "A prompt that begins with - is written after --.\n\n"
      "Examples:\n"
      "  strata run \"What is the capital of France?\"\n"
      "  strata run ./my-model \"Say hello.\" --temperature 0.7 --seed 1\n"
      "  git diff | strata run org/name --system \"Review this change.\" --json\n"
      "  strata run ./my-model          a chat: /help says what it knows");
  command->callback([options] { run(*options); });
}

}  // namespace strata
