#include "apps/run_command_options.h"

#include <cstdio>
#include <random>

#include "apps/model_path.h"
#include "base/error.h"

namespace strata {
namespace {

/// A number of generation_config.json; nothing if it is absent or null.
std::optional<double> number(const Json& config, const char* field, const std::filesystem::path& folder) {
  const auto it = config.find(field);
  if (it == config.end() || it->is_null()) return std::nullopt;
  if (!it->is_number()) {
    throw Error(ErrorCode::bad_model, (folder / "generation_config.json").string() + ": " + field +
                                          ": expected a number, found " + it->dump());
  }
  return it->get<double>();
}

SamplingParameters checkpoint_sampling(const ChatModel& model) {
  const Json& config = model.checkpoint().generation_config();
  const std::filesystem::path& folder = model.checkpoint().folder();
  const auto read = [&](const char* field) { return number(config, field, folder); };
  SamplingParameters sampling;
  sampling.repetition_penalty = static_cast<float>(read("repetition_penalty").value_or(1));
  const auto it = config.find("do_sample");
  const bool says = it != config.end() && it->is_boolean();
  const bool samples = says ? it->get<bool>() : read("temperature").has_value();
  if (samples) {
    sampling.temperature = static_cast<float>(read("temperature").value_or(1));
    sampling.top_p = static_cast<float>(read("top_p").value_or(1));
    sampling.min_p = static_cast<float>(read("min_p").value_or(0));
    const double top_k = read("top_k").value_or(0);
    if (!(top_k >= 0 && top_k < 1e9)) {
      throw Error(ErrorCode::bad_model, (folder / "generation_config.json").string() + ": top_k: expected 0 or more");
    }
    sampling.top_k = static_cast<std::int32_t>(top_k);
  }
  try {
    sampling.validate(model.model().vocab_size());
  } catch (const Error& e) {
    throw Error(ErrorCode::bad_model, (folder / "generation_config.json").string() + ": " + e.what());
  }
  return sampling;
}

std::string text(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%g", value);
  return out;
}

}  // namespace

void add_run_options(CLI::App& command, RunOptions& o) {
  command.add_option("MODEL", o.first,
                     "A model folder, or org/name in the Hugging Face cache (default: the demo model)");
  command.add_option("PROMPT", o.second, "What to answer (default: stdin if it is piped, else a chat)");
  command.add_option("-m,--model", o.model, "The same as MODEL; then the one argument is PROMPT");
  command.add_option("-p,--prompt", o.prompt, "The same as PROMPT");
  command.add_option("--system,--system-prompt", o.system, "The system message");
  command.add_option("--thinking", o.thinking, "Whether the model thinks before it answers (default: its template's)")
      ->check(CLI::IsMember({"on", "off"}));
  command.add_option("-n,--max-tokens,--predict,--n-predict", o.max_tokens,
                     "Tokens that the answer may have, thinking included; -1: as many as the context has room for");
  command.add_option("--stop", o.stops, "End the answer (not the thinking) before this text; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--json", o.json, "Print the answer as one JSON object");

  const std::string group = "Sampling (defaults: the checkpoint's generation_config.json)";
  command.add_option("--temperature,--temp", o.temperature, "0: always the likeliest token")->group(group);
  command.add_option("--top-p", o.top_p, "Only the likeliest tokens that make up this probability")->group(group);
  command.add_option("--top-k", o.top_k, "Only so many of the likeliest tokens; 0: all")->group(group);
  command.add_option("--min-p", o.min_p, "Only tokens at least so likely, compared with the likeliest")->group(group);
  command.add_option("-s,--seed", o.seed, "The same seed gives the same answer (default: a random one)")->group(group);
  command.add_option("--repetition-penalty,--repeat-penalty", o.repetition_penalty, "1: none")->group(group);
  command.add_option("--presence-penalty", o.presence_penalty, "0: none")->group(group);
  command.add_option("--frequency-penalty", o.frequency_penalty, "0: none")->group(group);

  add_machine_options(command, o.machine);
}

ModelAndPrompt resolve_words(const RunOptions& options) {
  std::optional<std::string> model = options.model, prompt = options.prompt;
  if (options.second) {
    model = model ? model : options.first;
    prompt = prompt ? prompt : options.second;
    if (options.model || options.prompt) {
      throw Error(ErrorCode::usage, "\"" + *options.second + "\" is one argument too many: model and prompt are given");
    }
  } else if (options.first) {
    const bool is_model = !model && (prompt || names_model(*options.first));
    std::optional<std::string>& place = is_model ? model : prompt;
    if (place) {
      throw Error(ErrorCode::usage, "\"" + *options.first + "\" is one argument too many: model and prompt are given");
    }
    place = options.first;
  }
  return {model ? find_model(*model) : demo_model(), prompt};
}

AnswerOptions resolve_answer_options(const RunOptions& options, const ChatModel& model) {
  AnswerOptions answer;
  SamplingParameters& s = answer.sampling;
  s = checkpoint_sampling(model);
  const auto set = [](const auto& from, auto& to) {
    if (from) to = *from;
  };
  set(options.temperature, s.temperature);
  set(options.top_p, s.top_p);
  set(options.top_k, s.top_k);
  set(options.min_p, s.min_p);
  set(options.repetition_penalty, s.repetition_penalty);
  set(options.presence_penalty, s.presence_penalty);
  set(options.frequency_penalty, s.frequency_penalty);
  if (options.seed) {
    s.seed = *options.seed;
  } else if (s.temperature > 0) {
    s.seed = std::random_device{}();
  }
  s.validate(model.model().vocab_size());
  if (options.max_tokens < -1) {
    throw Error(ErrorCode::usage, "--max-tokens is " + std::to_string(options.max_tokens) +
                                      "; it must be 0 or more, or -1 for as many as there is room for");
  }
  if (options.max_tokens >= 0) answer.max_tokens = options.max_tokens;
  answer.stops = options.stops;
  return answer;
}

std::string describe(const AnswerOptions& options) {
  const SamplingParameters& s = options.sampling;
  std::string line = "temperature " + text(s.temperature);
  if (s.temperature > 0) {
    line += ", top-p " + text(s.top_p) + ", top-k " + std::to_string(s.top_k) + ", min-p " + text(s.min_p) + ", seed " +
            std::to_string(s.seed);
  } else {
    line += " (always the likeliest token)";
  }
  if (s.repetition_penalty != 1) line += ", repetition penalty " + text(s.repetition_penalty);
  if (s.presence_penalty != 0) line += ", presence penalty " + text(s.presence_penalty);
  if (s.frequency_penalty != 0) line += ", frequency penalty " + text(s.frequency_penalty);
  return line;
}

}  // namespace strata
