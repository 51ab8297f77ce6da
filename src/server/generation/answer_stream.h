// One answer: tokens in, events out.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/generation/answer_parser.h"
#include "server/generation/call_memory.h"
#include "server/generation/stop_strings.h"
#include "text/text_stream.h"

namespace strata {

struct AnswerStreamOptions {
  bool chat = true;  // false: a text is continued; it has neither parts nor marks, and special tokens show
  AnswerParserOptions parser;
  bool parallel_tool_calls = true;  // false: the first call that is complete ends the answer
  std::vector<std::string> stop;    // in the content only: a model may think and call as it likes
  bool include_stop = false;
  std::int64_t min_tokens = 0;  // before which no stop string counts
  bool logprobs = false;
  std::function<void(WrittenCall)> on_call;  // of each call that stands alone between <tool_call> and </tool_call>
};

/// Detokenises, splits into parts, cuts at stop strings and counts. Whole characters only leave it.
class AnswerStream {
 public:
  using Emit = std::function<void(AnswerEvent)>;
  /// `tokenizer` and `marks` must outlive it.
  AnswerStream(const Tokenizer& tokenizer, const Marks& marks, AnswerStreamOptions options, Emit emit);

  /// A token of the answer, but not one that ends it (count_end).
  void push(const TokenEvent& token);
  /// The token that ended the answer: counted, and no part of it.
  void count_end() { ++usage_.completion_tokens; }
  /// Whether the answer has ended by itself: nothing that comes now belongs to it.
  bool ended() const { return stops_.stopped() || call_ended_; }
  /// No token comes any more. `reason`: what the tokens ended with (stop, length, timeout, abort, error). Sends what
  /// was held back, then Finished, to which the caller adds what only it knows.
  void finish(AnswerFinish reason, Finished finished);

  const Usage& usage() const { return usage_; }

 private:
  void on_part(AnswerEvent event);
  void emit_text(const std::string& text);
  void note_call(const AnswerEvent& event);
  void note_token(TokenId token, std::optional<Mark> mark);

  const Tokenizer& tokenizer_;
  const Marks& marks_;
  const AnswerStreamOptions options_;
  const Emit emit_;
  TextStream text_;
  StopStrings stops_;
  AnswerParser parser_;
  Usage usage_;
  bool armed_ = true, call_ended_ = false;
  WrittenCall call_;           // what is known of the call that is being written
  int calls_since_begin_ = 0;  // that have ended since the last <tool_call>
  bool writes_call_ = false;   // since which all tokens were noted
};

}  // namespace strata
