// How the thinking of an answer is shown.
#pragma once

#include <functional>
#include <string>

#include "server/generation/event.h"
#include "server/openai/request_options.h"

namespace strata {

/// Turns a choice's events into those that a client is to see. The same for whole and streamed answers, so that they
/// agree.
class AnswerShape {
 public:
  /// `force_content`: an answer of thinking alone gets it as content too.
  AnswerShape(ReasoningField field, bool force_content) : field_(field), force_content_(force_content) {}

  using Emit = std::function<void(const AnswerEvent&)>;
  void apply(const AnswerEvent& event, const Emit& emit);

 private:
  void close_inline(const Emit& emit);

  const ReasoningField field_;
  const bool force_content_;
  bool inline_open_ = false, has_content_ = false;
  std::string reasoning_;  // kept if it may become the content
};

}  // namespace strata
