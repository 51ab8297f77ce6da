// Splits what a model writes into thinking, text and calls of tools.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/generation/event.h"
#include "server/generation/tool_call_reader.h"
#include "text/tokenizer.h"

namespace strata {

/// The tokens that give an answer its parts.
enum class Mark { think_begin, think_end, call_begin, call_end };
/// "<think>", "</think>", "<tool_call>", "</tool_call>".
std::string_view name_of(Mark mark);

/// A model's marks by token; a model may lack some.
class Marks {
 public:
  explicit Marks(const Tokenizer& tokenizer);
  std::optional<Mark> of(TokenId token) const;
  std::optional<TokenId> token(Mark mark) const { return tokens_[static_cast<std::size_t>(mark)]; }
  /// Whether `prompt` leaves a <think> open, so that its answer begins inside it.
  bool leave_thinking(std::span<const TokenId> prompt) const;

 private:
  std::optional<TokenId> tokens_[4];
};

struct AnswerParserOptions {
  bool thinking = false;                     // the prompt ended inside <think>
  std::shared_ptr<const ToolSet> tools;      // that were offered; none: marks of calls are text
  std::function<std::string()> new_call_id;  // called for each call
};

/// The state machine from text and marks to events (ReasoningDelta, TextDelta, ToolCallBegin, ToolArguments,
/// ToolCallEnd). However the text is cut, the events add up to the same. No byte of text is lost but
/// - line ends before the thinking and blanks after it; blanks before the content, and after a call if no text follows;
///   one line end before a call; <think> and </think> where they change nothing;
/// - what stands in a call beside its function.
/// A call that names no offered tool is text. A <tool_call> inside the thinking is held back until it is known whether
/// the model forgot </think> (the call is whole, and the end or another call follows) or thinks about calls.
class AnswerParser : private ToolCallSink {
 public:
  using Emit = std::function<void(AnswerEvent)>;
  AnswerParser(AnswerParserOptions options, Emit emit);
  AnswerParser(const AnswerParser&) = delete;
  AnswerParser& operator=(const AnswerParser&) = delete;

  void push(std::string_view text);
  void push(Mark mark);
  /// Nothing follows. `complete`: the model ended the answer, so that closers of a call which are missing are taken as
  /// given; else the call is unfinished. May be called once.
  void finish(bool complete);

  /// Whether what comes next is part of the thinking, as far as is known.
  bool reasoning() const { return part_ == Part::reasoning || part_ == Part::doubtful_call; }
  /// Calls that have ended.
  int calls() const { return calls_; }
  bool has_content() const { return has_content_; }
  /// After finish(false) inside a call: what the model wrote of it, and the call's number. Else empty and -1.
  const std::string& unfinished_text() const { return unfinished_text_; }
  int unfinished_call() const { return unfinished_call_; }
  /// Short names, each once.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  enum class Part {
    reasoning,
    doubtful_call,  // in the thinking, held back
    content,
    call,
    after_call,  // of a <tool_call>, up to its end
    raw_call,    // of something unknown: text up to its end
  };

  void add_reasoning(std::string_view text);
  void read_content(bool at_end);
  void hold_line_end(bool call);
  void add_content(std::string_view text);
  void read_call(bool at_end);
  void end_calls();
  void read_after_call();
  void start_call(bool wrapped);
  void leave_call();
  void push_into_call(Mark mark);
  void doubt(std::variant<std::string, Mark> item);
  void settle_doubt(bool ended);
  bool is_whole_call() const;

  void begin_call(const std::string& name) override;
  void add_arguments(std::string fragment) override;
  void end_call() override;
  void warn(const char* what) override;

  const AnswerParserOptions options_;
  const Emit emit_;
  const bool has_tools_;
  Part part_ = Part::content;

  bool has_reasoning_ = false, has_content_ = false;
  std::string blanks_;  // of the thinking: shown once something follows
  std::string buffer_;  // of content and calls: not decided yet
  std::string gap_;     // blanks before content
  bool in_gap_ = true;
  bool line_start_ = true;  // buffer_ begins at the start of a line

  std::unique_ptr<ToolCallReader> call_;
  bool wrapped_ = false;      // the call has a <tool_call>
  std::string raw_;           // the call as it was written
  std::size_t searched_ = 0;  // bytes of buffer_ after a call that hold no function
  int begun_ = 0, calls_ = 0;

  std::vector<std::variant<std::string, Mark>> doubtful_;
  bool doubtful_closed_ = false;  // its </tool_call> has come

  std::string unfinished_text_;
  int unfinished_call_ = -1;
  std::vector<std::string> warnings_;
};

}  // namespace strata
