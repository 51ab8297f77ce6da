#include "server/generation/tool_call_reader.h"

#include <algorithm>
#include <utility>

namespace strata {
namespace {

constexpr std::string_view kFunction = "<function=", kEndFunction = "</function>",
                           kParameter = "<parameter=", kEndParameter = "</parameter>";
constexpr std::size_t kMaxBlanks = 64;   // after a closer: more are somebody's text
constexpr std::size_t kMaxKey = 1024;    // bytes of a parameter's key
constexpr std::size_t kMaxProse = 4096;  // bytes before the function
constexpr std::size_t kLongestNull = 8;  // bytes of a value that may yet be null: with some blanks

enum class Begins { no, maybe, yes };

/// Whether `text` begins with `word`, or may once it is longer.
Begins begins(std::string_view text, std::string_view word) {
  if (text.starts_with(word)) return Begins::yes;
  return word.starts_with(text) ? Begins::maybe : Begins::no;
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// The length of a line end at the front of `text`, 0 if there is none; "\r" alone may become one.
std::size_t line_end(std::string_view text) { return text.starts_with("\r\n") ? 2 : text.starts_with('\n') ? 1 : 0; }

}  // namespace

void ToolCallReader::start() {
  status_ = Status::head;
  place_ = Place::function;
  tool_ = nullptr;
  name_.clear();
  keys_.clear();
}

void ToolCallReader::read(std::string& text, bool at_end) {
  for (bool more = true; more;) {
    if (status_ == Status::head) {
      more = read_head(text, at_end);
    } else if (status_ != Status::inside) {
      more = false;
    } else if (place_ == Place::function) {
      more = read_function(text, at_end);
    } else if (place_ == Place::value_begin) {
      more = read_value_begin(text, at_end);
    } else {
      more = read_value(text, at_end);
    }
  }
}

bool ToolCallReader::takes_marks(std::string_view text) const {
  if (status_ != Status::inside || place_ == Place::function) return false;
  if (place_ == Place::value_begin) return true;
  // What is held back may be a closer that only waits for what follows.
  const bool closed = (text.starts_with('<') || line_end(text) > 0) && match_end(text, 0, true).answer == Match::yes &&
                      text.find(kEndParameter) != std::string_view::npos;
  return !closed;
}

bool ToolCallReader::read_head(std::string& text, bool at_end) {
  const auto begin = text.find(kFunction);
  const auto stop = begin == std::string::npos ? begin : text.find_first_of(">\n", begin);
  const bool prose = std::min(begin, text.size()) > kMaxProse + kFunction.size();
  name_ = begin == std::string::npos ? "" : text.substr(begin + kFunction.size(), stop - begin - kFunction.size());
  if (stop == std::string::npos) {
    if (at_end || prose || !tools_.has_prefix(name_)) status_ = Status::not_a_call;
    return false;
  }
  tool_ = text[stop] == '>' && !prose ? tools_.find(name_) : nullptr;
  if (tool_ == nullptr) {
    status_ = Status::not_a_call;
    return false;
  }
  if (text.find_first_not_of(" \t\r\n") != begin) sink_.warn("malformed_tool_call");
  text.erase(0, stop + 1);
  status_ = Status::inside;
  sink_.begin_call(name_);
  sink_.add_arguments("{");
  return true;
}

bool ToolCallReader::read_function(std::string& text, bool at_end) {
  text.erase(0, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (text.starts_with(kParameter)) {
    const auto stop = text.find_first_of(">\n", kParameter.size());
    if (stop != std::string::npos && text[stop] == '>') {
      std::string key = text.substr(kParameter.size(), stop - kParameter.size());
      text.erase(0, stop + 1);
      begin_parameter(std::move(key));
      return true;
    }
    if (stop == std::string::npos && !at_end && text.size() < kMaxKey) return false;
  } else if (text.starts_with(kEndFunction)) {
    text.erase(0, kEndFunction.size());
    end();
    return false;
  } else if (text.starts_with(kFunction)) {  // of the next call: this one's closer is missing
    end();
    return false;
  } else if (text.starts_with(kEndParameter)) {  // once too often
    text.erase(0, kEndParameter.size());
    return true;
  }
  const auto may_become = [&](std::string_view word) { return begins(text, word) == Begins::maybe; };
  if (!at_end &&
      (may_become(kParameter) || may_become(kEndFunction) || may_become(kFunction) || may_become(kEndParameter))) {
    return false;
  }
  if (text.empty()) {  // at the end
    end();
    return false;
  }
  sink_.warn("malformed_tool_call");
  text.erase(0, std::min(text.find('<', 1), text.size()));
  return true;
}

void ToolCallReader::begin_parameter(std::string key) {
  type_ = tool_->type_of(key);
  value_.clear();
  empty_ = true;
  streaming_ = false;
  place_ = Place::value_begin;
  const std::string name = escape_json(key);
  const bool first = keys_.empty();
  ignored_ = !keys_.insert(std::move(key)).second;
  if (ignored_) {
    sink_.warn("duplicate_parameter");
  } else {
    sink_.add_arguments((first ? "\"" : ",\"") + name + "\":");
  }
}

bool ToolCallReader::read_value_begin(std::string& text, bool at_end) {
  if (!at_end && (text.empty() || text == "\r")) return false;
  const std::size_t n = line_end(text);
  own_lines_ = n > 0;
  text.erase(0, n);
  place_ = Place::value;
  return true;
}

bool ToolCallReader::read_value(std::string& text, bool at_end) {
  std::size_t at = 0;
  while (at < text.size()) {
    at = text.find_first_of("<\r\n", at);
    if (at == std::string::npos) break;
    const Match match = match_end(text, at, at_end);
    if (match.answer == Match::maybe) break;
    if (match.answer == Match::yes) {
      add_value(std::string_view(text).substr(0, at));
      text.erase(0, match.next);
      end_value();
      return true;
    }
    ++at;
  }
  at = std::min(at, text.size());
  add_value(std::string_view(text).substr(0, at));
  text.erase(0, at);
  if (!at_end) return false;
  add_value(text);
  text.clear();
  end_value();
  return true;
}

ToolCallReader::Match ToolCallReader::match_end(std::string_view text, std::size_t at, bool at_end) const {
  const std::size_t nl = line_end(text.substr(at));
  if (nl == 0 && text[at] != '<') {
    const bool may_become = text[at] == '\r' && at + 1 == text.size() && !at_end;
    return {may_become ? Match::maybe : Match::no};
  }
  // The line end after the key counts for an empty value too.
  const bool own_line = nl > 0 || !own_lines_ || (empty_ && at == 0);
  const std::size_t word = at + nl;
  const std::string_view rest = text.substr(word);
  if (rest.empty()) return at_end ? Match{Match::yes, word} : Match{Match::maybe};

  const Begins closer = begins(rest, kEndParameter);
  if (closer == Begins::yes) return match_closer(text, word + kEndParameter.size(), own_line, at_end);
  if (closer == Begins::maybe && !at_end) return {Match::maybe};
  if (!own_line) return {Match::no};

  const Begins function = begins(rest, kEndFunction), parameter = begins(rest, kParameter);
  if (function == Begins::yes) return {Match::yes, word};
  if (parameter == Begins::yes) {
    const std::string_view key = rest.substr(kParameter.size());
    const auto stop = key.find_first_of(">\n");
    if (stop != std::string_view::npos)
      return {key[stop] == '>' && tool_->declares(key.substr(0, stop)) ? Match::yes : Match::no, word};
    return {!at_end && tool_->declares_prefix(key) ? Match::maybe : Match::no};
  }
  return {!at_end && (function == Begins::maybe || parameter == Begins::maybe) ? Match::maybe : Match::no};
}

ToolCallReader::Match ToolCallReader::match_closer(std::string_view text, std::size_t at, bool own_line,
                                                   bool at_end) const {
  std::size_t next = at;
  bool line = own_line;  // elsewhere than on a line of its own a closer counts only at the end of its line
  while (next < text.size() && next - at <= kMaxBlanks && is_blank(text[next])) line |= text[next++] == '\n';
  if (next - at > kMaxBlanks) return {Match::no};
  const std::string_view rest = text.substr(next);
  if (rest.empty()) return at_end ? Match{Match::yes, at} : Match{Match::maybe};
  const Begins parameter = begins(rest, kParameter), function = begins(rest, kEndFunction);
  if (parameter == Begins::no && function == Begins::no) return {Match::no};
  if (!line) return {Match::no};
  const bool known = at_end || parameter == Begins::yes || function == Begins::yes;
  return known ? Match{Match::yes, at} : Match{Match::maybe};
}

void ToolCallReader::add_value(std::string_view text) {
  if (text.empty()) return;
  empty_ = false;
  if (ignored_) return;
  value_ += text;
  if (!streaming_) {
    if (!type_.only_string() && !(type_.string_or_null() && value_.size() > kLongestNull)) return;
  }
  sink_.add_arguments((streaming_ ? "" : "\"") + escape_json(value_));
  streaming_ = true;
  value_.clear();
}

void ToolCallReader::end_value() {
  place_ = Place::function;
  if (ignored_) return;
  sink_.add_arguments(streaming_ ? "\"" : decode_argument(value_, type_));
  value_.clear();
}

void ToolCallReader::end() {
  status_ = Status::done;
  sink_.add_arguments("}");
  sink_.end_call();
}

}  // namespace strata
