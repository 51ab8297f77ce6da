#include "server/generation/answer_stream.h"

#include <utility>

namespace strata {

AnswerStream::AnswerStream(const Tokenizer& tokenizer, const Marks& marks, AnswerStreamOptions options, Emit emit)
    : tokenizer_(tokenizer),
      marks_(marks),
      options_(std::move(options)),
      emit_(std::move(emit)),
      text_(tokenizer, options_.chat),
      stops_(options_.stop, options_.include_stop),
      parser_(options_.parser, [this](AnswerEvent event) { on_part(std::move(event)); }) {}

void AnswerStream::push(const TokenEvent& token) {
  if (ended()) return;
  ++usage_.completion_tokens;
  armed_ = usage_.completion_tokens >= options_.min_tokens;
  const bool reasoning = options_.chat && parser_.reasoning();
  if (reasoning) ++usage_.reasoning_tokens;
  if (options_.logprobs) {
    TokenLogprob logprob;
    logprob.token = token.token;
    logprob.logprob = token.logprob;
    for (std::size_t i = 0; i < token.top_ids.size(); ++i)
      if (token.top_ids[i] >= 0) logprob.top.emplace_back(token.top_ids[i], token.top_logprobs[i]);
    TokenLogprobs logprobs;
    logprobs.reasoning = reasoning;
    logprobs.tokens.push_back(std::move(logprob));
    emit_(std::move(logprobs));
  }
  if (!options_.chat) return emit_text(text_.push(token.token));
  const std::optional<Mark> mark = marks_.of(token.token);
  note_token(token.token, mark);
  if (mark) {
    parser_.push(text_.finish());  // a mark doesn't complete a character
    parser_.push(*mark);
  } else {
    parser_.push(text_.push(token.token));
  }
  if (mark == Mark::call_end && std::exchange(writes_call_, false) && calls_since_begin_ == 1 && options_.on_call)
    options_.on_call(std::move(call_));
}

/// Before the parser hears of it.
void AnswerStream::note_token(TokenId token, std::optional<Mark> mark) {
  if (mark == Mark::call_begin) {
    writes_call_ = !parser_.reasoning();
    calls_since_begin_ = 0;
    call_ = {};
  } else if (writes_call_ && mark != Mark::call_end) {
    call_.tokens.push_back(token);
  }
}

void AnswerStream::note_call(const AnswerEvent& event) {
  if (const auto* begin = std::get_if<ToolCallBegin>(&event)) {
    call_.id = begin->id;
    call_.name = begin->name;
  } else if (const auto* arguments = std::get_if<ToolArguments>(&event)) {
    call_.arguments += arguments->fragment;
  } else if (std::holds_alternative<ToolCallEnd>(event)) {
    ++calls_since_begin_;
  }
}

void AnswerStream::finish(AnswerFinish reason, Finished finished) {
  const bool complete = reason == AnswerFinish::stop;
  if (!ended()) {
    if (options_.chat) {
      parser_.push(text_.finish());
      parser_.finish(complete);
    } else {
      emit_text(text_.finish());
    }
    if (!stops_.stopped()) {
      if (std::string held = stops_.finish(); !held.empty()) {
        TextDelta delta;
        delta.text = std::move(held);
        emit_(std::move(delta));
      }
    }
  }
  // A stop string in what was held back to the end counts as well.
  if (ended() && (reason == AnswerFinish::length || reason == AnswerFinish::stop)) reason = AnswerFinish::stop;
  if (reason == AnswerFinish::stop && parser_.calls() > 0) reason = AnswerFinish::tool_calls;
  finished.reason = reason;
  finished.stop_string = stops_.matched();
  finished.unfinished_text = parser_.unfinished_text();
  finished.unfinished_call = parser_.unfinished_call();
  finished.usage.completion_tokens = usage_.completion_tokens;
  finished.usage.reasoning_tokens = usage_.reasoning_tokens;
  finished.warnings.insert(finished.warnings.end(), parser_.warnings().begin(), parser_.warnings().end());
  if (reason == AnswerFinish::length && usage_.reasoning_tokens > 0 && !parser_.has_content() && parser_.calls() == 0 &&
      finished.unfinished_call < 0) {
    finished.warnings.emplace_back("no_content_within_max_tokens");
  }
  emit_(std::move(finished));
}

void AnswerStream::on_part(AnswerEvent event) {
  if (ended()) return;
  if (auto* delta = std::get_if<TextDelta>(&event)) return emit_text(delta->text);
  if (std::holds_alternative<ToolCallBegin>(event)) {  // a stop string doesn't reach over a call
    TextDelta held;
    held.text = stops_.finish();
    if (!held.text.empty()) emit_(std::move(held));
  }
  note_call(event);
  call_ended_ = !options_.parallel_tool_calls && std::holds_alternative<ToolCallEnd>(event);
  emit_(std::move(event));
}

void AnswerStream::emit_text(const std::string& text) {
  if (text.empty()) return;
  TextDelta delta;
  delta.text = stops_.push(text, armed_);
  if (!delta.text.empty()) emit_(std::move(delta));
}

}  // namespace strata
