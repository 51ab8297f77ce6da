#include "server/openai/answer_shape.h"

#include <utility>

namespace strata {
namespace {

AnswerEvent text_delta(std::string text) {
  TextDelta delta;
  delta.text = std::move(text);
  return delta;
}

}  // namespace

void AnswerShape::apply(const AnswerEvent& event, const Emit& emit) {
  if (const auto* delta = std::get_if<ReasoningDelta>(&event)) {
    if (force_content_) reasoning_ += delta->text;
    if (field_ == ReasoningField::none) return;
    if (field_ != ReasoningField::inline_text) return emit(event);
    emit(text_delta(inline_open_ ? delta->text : "<think>\n" + delta->text));
    inline_open_ = true;
    return;
  }
  if (const auto* logprobs = std::get_if<TokenLogprobs>(&event)) {
    if (!logprobs->reasoning || field_ != ReasoningField::none) emit(event);
    return;
  }
  if (std::holds_alternative<TextDelta>(event) || std::holds_alternative<ToolCallBegin>(event)) {
    close_inline(emit);
    has_content_ = true;
  }
  if (const auto* finished = std::get_if<Finished>(&event)) {
    // Thinking that was cut off stays open, as the model left it.
    if (finished->reason == AnswerFinish::stop || finished->reason == AnswerFinish::tool_calls) close_inline(emit);
    if (force_content_ && !has_content_ && !reasoning_.empty() && field_ != ReasoningField::inline_text)
      emit(text_delta(std::exchange(reasoning_, {})));
  }
  emit(event);
}

void AnswerShape::close_inline(const Emit& emit) {
  if (std::exchange(inline_open_, false)) emit(text_delta("\n</think>\n\n"));
}

}  // namespace strata
