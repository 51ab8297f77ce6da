// One answer: tokens through the engine, text to whoever shows it, times.
#pragma once

#include <chrono>
#include <vector>

#include "apps/chat_model.h"
#include "apps/chat_text.h"

namespace strata {

/// While it lives, SIGINT is noted instead of ending the program; a second one that nobody has taken notice of ends it.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

/// Whether SIGINT came since the last clear_interrupt().
bool interrupted();
void clear_interrupt();

struct AnswerTimes {
  double prompt_ms = 0;       // from the first prompt token that is computed to the first token of the answer
  double predicted_ms = 0;    // from there to the last token
  double first_token_ms = 0;  // from when the answer was asked for, text work included
};

struct Answer {
  std::string reasoning, content;
  FinishReason finish = FinishReason::none;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  AnswerTimes times;

  double prompt_per_second() const;
  /// Of the tokens after the first.
  double predicted_per_second() const;
};

/// What is asked of each answer.
struct AnswerOptions {
  SamplingParameters sampling;
  std::int64_t max_tokens = 1 << 30;
  std::vector<std::string> stops;
};

/// A prompt, its leading `stable` tokens being those that the next turn's prompt is bound to begin with.
struct Prompt {
  std::vector<TokenId> tokens;
  std::size_t stable = 0;
  bool verbatim = false;  // a text to complete, not a conversation
  std::chrono::steady_clock::time_point asked = std::chrono::steady_clock::now();
};

/// The prompt of a conversation, an OpenAI chat request. `find_stable` costs a second rendering.
Prompt conversation_prompt(const ChatModel& model, const Json& request, bool find_stable);

/// States that a conversation's next prompt may begin with, so that only what is new is computed.
class ResumePoints {
 public:
  void clear() { points_.clear(); }
  void keep(SequenceState state, std::vector<TokenId> tokens) {
    points_.push_back({std::move(state), std::move(tokens)});
  }
  /// The state that has seen most of `prompt`, if one has seen a beginning of it; the others are given back.
  std::optional<SequenceState> take(const std::vector<TokenId>& prompt);

 private:
  struct Point {
    SequenceState state;
    std::vector<TokenId> tokens;
  };
  std::vector<Point> points_;
};

/// Runs the engine until the answer has ended, stopped at a stop string or by SIGINT (FinishReason::cancelled).
/// `resume`: nullptr if no turn follows. Throws Error{usage} for a prompt that is too long, Error{failure}.
Answer generate(ChatModel& model, const Prompt& prompt, const AnswerOptions& options, const AnswerText::Show& show,
                ResumePoints* resume = nullptr);

/// "22 prompt tokens in 9 ms (2,444 tok/s), 37 tokens in 30 ms (1,233 tok/s), first token after 12 ms".
std::string describe_speed(const Answer& answer);

}  // namespace strata
