// The chat in the terminal.
#pragma once

#include "apps/run_command_options.h"

namespace strata {

/// An OpenAI chat request: the system message, if there is one, then `text` as the user's; thinking as asked.
Json new_conversation(const RunOptions& options, const std::string& text);

/// Reads lines from the terminal and answers them until Ctrl+D, Ctrl+C twice or /exit. Lines that begin with / are
/// commands; /help lists them.
void chat(ChatModel& model, const RunOptions& options, const AnswerOptions& wishes);

}  // namespace strata
