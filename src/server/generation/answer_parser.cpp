#include "server/generation/answer_parser.h"

#include <algorithm>

namespace strata {
namespace {

constexpr std::string_view kBlanks = " \t\r\n", kFunction = "<function=";

}  // namespace

std::string_view name_of(Mark mark) {
  static constexpr std::string_view kNames[] = {"<think>", "</think>", "<tool_call>", "</tool_call>"};
  return kNames[static_cast<std::size_t>(mark)];
}

Marks::Marks(const Tokenizer& tokenizer) {
  for (const Mark mark : {Mark::think_begin, Mark::think_end, Mark::call_begin, Mark::call_end})
    tokens_[static_cast<std::size_t>(mark)] = tokenizer.find(name_of(mark));
}

std::optional<Mark> Marks::of(TokenId token) const {
  for (const Mark mark : {Mark::think_begin, Mark::think_end, Mark::call_begin, Mark::call_end})
    if (tokens_[static_cast<std::size_t>(mark)] == token) return mark;
  return std::nullopt;
}

bool Marks::leave_thinking(std::span<const TokenId> prompt) const {
  const auto last = std::find_if(prompt.rbegin(), prompt.rend(), [&](TokenId t) {
    const std::optional<Mark> mark = of(t);
    return mark == Mark::think_begin || mark == Mark::think_end;
  });
  return last != prompt.rend() && of(*last) == Mark::think_begin;
}

AnswerParser::AnswerParser(AnswerParserOptions options, Emit emit)
    : options_(std::move(options)), emit_(std::move(emit)), has_tools_(options_.tools && !options_.tools->empty()) {
  if (options_.thinking) part_ = Part::reasoning;
  if (has_tools_) call_ = std::make_unique<ToolCallReader>(*options_.tools, static_cast<ToolCallSink&>(*this));
}

void AnswerParser::push(std::string_view text) {
  if (text.empty()) return;
  switch (part_) {
    case Part::reasoning:
      return add_reasoning(text);
    case Part::doubtful_call:
      return doubt(std::string(text));
    case Part::content:
      buffer_ += text;
      return read_content(false);
    case Part::call:
      buffer_ += text;
      raw_ += text;
      return read_call(false);
    case Part::after_call:
      buffer_ += text;
      raw_ += text;
      return read_after_call();
    case Part::raw_call:
      return add_content(text);
  }
}

void AnswerParser::push(Mark mark) {
  const bool of_thinking = mark == Mark::think_begin || mark == Mark::think_end;
  switch (part_) {
    case Part::reasoning:
      if (mark == Mark::think_end) {
        blanks_.clear();
        part_ = Part::content;
      } else if (mark == Mark::call_begin && has_tools_) {
        part_ = Part::doubtful_call;
        doubtful_closed_ = false;
        doubt(mark);
      } else if (!of_thinking) {
        add_reasoning(name_of(mark));
      }
      return;
    case Part::doubtful_call:
      return doubt(mark);
    case Part::content:
      if (of_thinking) {
        // Some templates leave the opening to the model.
        if (mark == Mark::think_begin && !has_content_ && !has_reasoning_ && begun_ == 0 && buffer_.empty())
          part_ = Part::reasoning;
      } else if (!has_tools_) {
        push(name_of(mark));
      } else {
        hold_line_end(mark == Mark::call_begin);
        if (mark == Mark::call_begin) {
          start_call(true);
        } else {
          warn("malformed_tool_call");
        }
      }
      return;
    case Part::call:
      return push_into_call(mark);
    case Part::after_call:
      if (of_thinking) return;
      leave_call();
      if (mark == Mark::call_begin) start_call(true);
      return;
    case Part::raw_call:
      add_content(name_of(mark));
      if (mark == Mark::call_end) leave_call();
      return;
  }
}

void AnswerParser::finish(bool complete) {
  if (part_ == Part::doubtful_call) settle_doubt(complete);
  if (part_ == Part::content) read_content(true);
  if (part_ == Part::call && !complete && call_->status() == ToolCallReader::Status::inside) {
    unfinished_call_ = begun_ - 1;
    unfinished_text_ = raw_;
    return;
  }
  end_calls();
  if (part_ == Part::content) read_content(true);  // what follows a call without a wrapper
  if (part_ == Part::after_call && buffer_.find_first_not_of(kBlanks) != std::string::npos) {
    add_content(buffer_);  // no </tool_call> has come, so it belongs to nothing else
  }
}

void AnswerParser::add_reasoning(std::string_view text) {
  if (!has_reasoning_ && blanks_.empty()) text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));
  const auto last = text.find_last_not_of(kBlanks);
  if (last == std::string_view::npos) {
    blanks_ += text;
    return;
  }
  has_reasoning_ = true;
  ReasoningDelta delta;
  delta.text = blanks_ + std::string(text.substr(0, last + 1));
  blanks_ = text.substr(last + 1);
  emit_(std::move(delta));
}

void AnswerParser::read_content(bool at_end) {
  if (!has_tools_) {
    add_content(buffer_);
    buffer_.clear();
    return;
  }
  // A function at the start of a line is a call whose <tool_call> is missing.
  for (std::size_t at = 0; at <= buffer_.size();) {
    if (at > 0 || line_start_) {
      const std::string_view line = std::string_view(buffer_).substr(at);
      std::size_t cut = at;  // one line end before a call isn't content
      if (cut > 0) --cut;
      if (cut > 0 && buffer_[cut - 1] == '\r') --cut;
      const bool function = line.starts_with(kFunction);
      const std::string_view name = function ? line.substr(kFunction.size()) : std::string_view();
      const auto stop = name.find('>');
      if (function && stop != std::string_view::npos && options_.tools->find(name.substr(0, stop)) != nullptr) {
        std::string rest(line);
        add_content(std::string_view(buffer_).substr(0, cut));
        buffer_.clear();
        start_call(false);
        return push(rest);
      }
      const bool may_become =
          function ? stop == std::string_view::npos && options_.tools->has_prefix(name) : kFunction.starts_with(line);
      if (may_become && !at_end) {
        add_content(std::string_view(buffer_).substr(0, cut));
        buffer_.erase(0, cut);
        return;
      }
    }
    const auto next = buffer_.find('\n', at);
    if (next == std::string::npos) break;
    at = next + 1;
  }
  std::size_t sure = buffer_.size();
  if (!at_end && buffer_.ends_with('\r')) --sure;
  add_content(std::string_view(buffer_).substr(0, sure));
  buffer_.erase(0, sure);
}

/// The content so far is complete; `call`: a call seems to follow, and the line end before it isn't content.
void AnswerParser::hold_line_end(bool call) {
  std::string line_end;
  if (call && buffer_.ends_with('\n')) line_end = buffer_.substr(buffer_.size() - (buffer_.ends_with("\r\n") ? 2 : 1));
  buffer_.resize(buffer_.size() - line_end.size());
  read_content(true);
  if (line_end.empty()) return;
  in_gap_ = true;
  gap_ += line_end;
}

void AnswerParser::add_content(std::string_view text) {
  if (text.empty()) return;
  line_start_ = text.back() == '\n';
  if (in_gap_) {
    const auto begin = text.find_first_not_of(kBlanks);
    gap_ += text.substr(0, begin);
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
    in_gap_ = false;
  }
  TextDelta delta;
  if (has_content_) delta.text = gap_;
  gap_.clear();
  delta.text += text;
  has_content_ = true;
  emit_(std::move(delta));
}

void AnswerParser::start_call(bool wrapped) {
  part_ = Part::call;
  wrapped_ = wrapped;
  raw_ = wrapped ? name_of(Mark::call_begin) : "";
  buffer_.clear();
  call_->start();
}

void AnswerParser::leave_call() {
  part_ = Part::content;
  buffer_.clear();
  raw_.clear();
  line_start_ = true;
}

void AnswerParser::read_call(bool at_end) {
  using Status = ToolCallReader::Status;
  call_->read(buffer_, at_end);
  if (call_->status() == Status::not_a_call) {
    warn(call_->name().empty() ? "malformed_tool_call" : "unknown_tool");
    const std::string text = std::exchange(raw_, {});
    const bool wrapped = wrapped_;
    leave_call();
    if (wrapped) part_ = Part::raw_call;
    add_content(text);
  } else if (call_->status() == Status::done) {
    if (wrapped_) {
      part_ = Part::after_call;
      searched_ = 0;
      read_after_call();
    } else {
      const std::string rest = std::exchange(buffer_, {});
      leave_call();
      push(rest);
    }
  }
}

/// What is open ends here.
void AnswerParser::end_calls() {
  while (part_ == Part::call) read_call(true);
}

void AnswerParser::read_after_call() {
  // A second function in one <tool_call>.
  const auto begin = buffer_.find(kFunction, searched_);
  if (begin == std::string::npos) {
    searched_ = buffer_.size() - std::min(buffer_.size(), kFunction.size() - 1);
    return;
  }
  searched_ = begin;
  const std::string_view name = std::string_view(buffer_).substr(begin + kFunction.size());
  const auto stop = name.find('>');
  if (stop == std::string_view::npos && options_.tools->has_prefix(name)) return;
  if (stop == std::string_view::npos || options_.tools->find(name.substr(0, stop)) == nullptr) {
    searched_ = begin + 1;
    return read_after_call();
  }
  const std::string rest = buffer_.substr(begin);
  start_call(true);
  push(rest);
}

void AnswerParser::push_into_call(Mark mark) {
  if (mark == Mark::call_end) {
    raw_ += name_of(mark);
    end_calls();
    if (part_ == Part::raw_call || part_ == Part::after_call) leave_call();
    return;
  }
  if (call_->takes_marks(buffer_)) return push(name_of(mark));
  if (mark != Mark::call_begin) return;
  end_calls();  // their closers are missing
  push(mark);
}

void AnswerParser::doubt(std::variant<std::string, Mark> item) {
  const auto is = [&](Mark mark) { return std::holds_alternative<Mark>(item) && std::get<Mark>(item) == mark; };
  if (!doubtful_closed_) {
    const bool closes = is(Mark::call_end), again = is(Mark::call_begin) && !doubtful_.empty();
    if (is(Mark::think_end) || again) {
      settle_doubt(again);
      return push(std::get<Mark>(item));
    }
    doubtful_.push_back(std::move(item));
    doubtful_closed_ = closes;
    if (closes && !is_whole_call()) settle_doubt(false);
    return;
  }
  if (const auto* text = std::get_if<std::string>(&item)) {
    doubtful_.push_back(*text);
    if (text->find_first_not_of(kBlanks) != std::string::npos) settle_doubt(false);
    return;
  }
  const Mark mark = std::get<Mark>(item);
  settle_doubt(mark == Mark::call_begin);
  push(mark);
}

/// Whether what is held back would be calls and nothing else.
bool AnswerParser::is_whole_call() const {
  AnswerParserOptions options = options_;
  options.thinking = false;
  options.new_call_id = [] { return std::string(); };
  bool text = false;
  AnswerParser trial(std::move(options),
                     [&](const AnswerEvent& event) { text |= std::holds_alternative<TextDelta>(event); });
  for (const auto& item : doubtful_) std::visit([&](const auto& x) { trial.push(x); }, item);
  trial.finish(true);
  return trial.calls() > 0 && !text;
}

/// `ended`: the end or another call follows, so that a call which is whole was meant.
void AnswerParser::settle_doubt(bool ended) {
  const bool meant = ended && is_whole_call();
  const auto items = std::exchange(doubtful_, {});
  part_ = meant ? Part::content : Part::reasoning;
  if (meant) blanks_.clear();
  for (const auto& item : items) {
    if (meant) {
      std::visit([&](const auto& x) { push(x); }, item);
    } else if (const Mark* mark = std::get_if<Mark>(&item)) {
      add_reasoning(name_of(*mark));
    } else {
      add_reasoning(std::get<std::string>(item));
    }
  }
}

void AnswerParser::begin_call(const std::string& name) {
  in_gap_ = true;
  gap_.clear();
  ToolCallBegin begin;
  begin.index = begun_++;
  begin.id = options_.new_call_id();
  begin.name = name;
  emit_(std::move(begin));
}

void AnswerParser::add_arguments(std::string fragment) {
  if (fragment.empty()) return;
  ToolArguments arguments;
  arguments.index = begun_ - 1;
  arguments.fragment = std::move(fragment);
  emit_(std::move(arguments));
}

void AnswerParser::end_call() {
  ++calls_;
  emit_(ToolCallEnd{begun_ - 1});
}

void AnswerParser::warn(const char* what) {
  if (std::find(warnings_.begin(), warnings_.end(), what) == warnings_.end()) warnings_.emplace_back(what);
}

}  // namespace strata
