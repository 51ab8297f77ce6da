#include "apps/chat.h"

#include <unistd.h>

#include <fstream>
#include <iostream>

#include "apps/chat_display.h"
#include "apps/chat_input.h"
#include "base/error.h"

namespace strata {
namespace {

constexpr const char* kHelp =
    "/think on|off   whether the model thinks before it answers\n"
    "/reset          begin a new conversation\n"
    "/save FILE      write the conversation as an OpenAI chat request (JSON)\n"
    "/help           this\n"
    "/exit           leave, as do Ctrl+D and Ctrl+C twice\n"
    "Ctrl+C stops an answer. Alt+Return begins a new line. Up and down go through what was typed before.\n";

void say(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

class Chat {
 public:
  Chat(ChatModel& model, const RunOptions& options, const AnswerOptions& wishes)
      : model_(model), options_(options), wishes_(wishes), history_(InputHistory::default_file()) {
    reset();
  }

  void run() {
    say(model_.chat_template() ? "\nSend a message; /help for commands, Ctrl+D to leave."
                               : "\nThe model has no chat template: each text is continued as it is. Ctrl+D to leave.");
    for (int interrupts = 0; interrupts < 2;) {
      const InputLine line = read_line(">>> ", history_);
      if (line.end == InputLine::End::end_of_input) return;
      if (line.end == InputLine::End::interrupt) {
        if (line.text.empty() && ++interrupts == 1) say("Ctrl+C again, or Ctrl+D, to leave.");
        continue;
      }
      interrupts = 0;
      if (line.text.find_first_not_of(" \n\t") == std::string::npos) continue;
      history_.add(line.text);
      if (!take(line.text)) return;
      if (std::cout.fail())
        throw Error(ErrorCode::failure, "stdout can't be written; is the disk full or the reader gone?");
    }
  }

 private:
  /// False if that was the wish to leave. What goes wrong with one line leaves the chat as it was.
  bool take(const std::string& line) {
    try {
      if (line[0] == '/') return command(line);
      if (model_.chat_template()) {
        answer(line);
      } else {
        Prompt prompt;
        prompt.tokens = model_.tokenizer().encode(line);
        prompt.verbatim = true;
        show(prompt, nullptr);
      }
    } catch (const Error& e) {
      say(std::string("strata: ") + e.what());
    }
    return true;
  }

  bool command(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::size_t from = space == std::string::npos ? space : line.find_first_not_of(' ', space);
    std::string argument = from == std::string::npos ? "" : line.substr(from);
    argument.resize(argument.find_last_not_of(' ') + 1);
    if (name == "/exit" || name == "/bye" || name == "/quit") return false;
    if (name == "/think" && (argument == "on" || argument == "off")) {
      request_["chat_template_kwargs"]["enable_thinking"] = argument == "on";
      say("Thinking is " + argument + ".");
    } else if (name == "/reset" && argument.empty()) {
      reset();
      say("A new conversation.");
    } else if (name == "/save" && !argument.empty()) {
      save(argument);
    } else if (name == "/help" || name == "/?") {
      std::fputs(kHelp, stderr);
    } else {
      say("There is no command " + line + "; /help lists them.");
    }
    return true;
  }

  /// Forgets what was said, not what was set.
  void reset() {
    Json kwargs = request_.value("chat_template_kwargs", Json());
    request_ = new_conversation(options_, "");
    request_["messages"].erase(request_["messages"].size() - 1);
    if (!kwargs.is_null()) request_["chat_template_kwargs"] = std::move(kwargs);
    resume_.clear();
  }

  void save(const std::string& file) {
    std::ofstream out(file);
    out << request_.dump(2) << '\n';
    out.close();
    if (!out) throw Error(ErrorCode::failure, file + " can't be written");
    say("Saved " + std::to_string(request_["messages"].size()) + " messages to " + file + ".");
  }

  void answer(const std::string& text) {
    Json asked = request_;
    asked["messages"].push_back({{"role", "user"}, {"content", text}});
    const Answer answer = show(conversation_prompt(model_, asked, true), &resume_);
    Json message{{"role", "assistant"}, {"content", answer.content}};
    if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
    asked["messages"].push_back(std::move(message));
    request_ = std::move(asked);
  }

  Answer show(const Prompt& prompt, ResumePoints* resume) {
    const InterruptGuard guard;
    AnswerDisplay display;
    const Answer answer = generate(
        model_, prompt, wishes_, [&](AnswerPart part, std::string_view text) { display.show(part, text); }, resume);
    display.finish();
    if (answer.finish == FinishReason::cancelled) say("(stopped)");
    if (answer.finish == FinishReason::length)
      say("(cut off: --max-tokens or the context was reached; /reset begins anew)");
    say(describe_speed(answer) + "\n");
    return answer;
  }

  ChatModel& model_;
  const RunOptions& options_;
  const AnswerOptions& wishes_;
  InputHistory history_;
  Json request_ = Json::object();
  ResumePoints resume_;
};

}  // namespace

Json new_conversation(const RunOptions& options, const std::string& text) {
  Json request{{"messages", Json::array()}};
  if (options.system) request["messages"].push_back({{"role", "system"}, {"content", *options.system}});
  request["messages"].push_back({{"role", "user"}, {"content", text}});
  if (!options.thinking.empty()) request["chat_template_kwargs"] = {{"enable_thinking", options.thinking == "on"}};
  return request;
}

void chat(ChatModel& model, const RunOptions& options, const AnswerOptions& wishes) {
  Chat(model, options, wishes).run();
}

}  // namespace strata
