#include "apps/chat_text.h"

#include <algorithm>
#include <utility>

namespace strata {
namespace {

/// Bytes at the end of `text` that may become one of `stops`.
std::size_t possible_start(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t longest = 0;
  for (const std::string& stop : stops) {
    for (std::size_t n = std::min(stop.size() - 1, text.size()); n > longest; --n) {
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace

AnswerText::AnswerText(const Tokenizer& tokenizer, const std::vector<TokenId>& prompt, std::vector<std::string> stops,
                       bool verbatim, Show show)
    : stream_(tokenizer, !verbatim),
      open_(verbatim ? std::nullopt : tokenizer.find("<think>")),
      close_(verbatim ? std::nullopt : tokenizer.find("</think>")),
      stops_(std::move(stops)),
      verbatim_(verbatim),
      show_(std::move(show)) {
  std::erase(stops_, "");
  if (!open_ || !close_) return;
  const auto last =
      std::find_if(prompt.rbegin(), prompt.rend(), [&](TokenId t) { return t == *open_ || t == *close_; });
  if (last != prompt.rend() && *last == *open_) part_ = AnswerPart::reasoning;
}

void AnswerText::push(TokenId token) {
  if (stopped_) return;
  if (token == open_) {
    // Some models write the one that the prompt already has.
    if (content_.empty() && held_.empty()) part_ = AnswerPart::reasoning;
    return;
  }
  if (token == close_) {
    close_part();
    part_ = AnswerPart::content;
    return;
  }
  add(stream_.push(token));
}

void AnswerText::close_part() {
  add(stream_.finish());
  line_ends_.clear();
}

void AnswerText::finish() {
  if (stopped_) return;
  close_part();
  show_content(std::exchange(held_, ""));
}

void AnswerText::add(std::string text) {
  if (text.empty()) return;
  if (part_ == AnswerPart::reasoning) {
    add_reasoning(std::move(text));
  } else {
    add_content(text);
  }
}

void AnswerText::add_reasoning(std::string text) {
  if (reasoning_.empty()) text.erase(0, text.find_first_not_of("\r\n"));
  text.insert(0, line_ends_);
  const std::size_t last = text.find_last_not_of("\r\n");
  const std::size_t end = last == std::string::npos ? 0 : last + 1;
  line_ends_ = text.substr(end);
  text.resize(end);
  if (text.empty()) return;
  reasoning_ += text;
  if (show_) show_(AnswerPart::reasoning, text);
}

void AnswerText::add_content(const std::string& text) {
  held_ += text;
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    show_content(held_.substr(0, cut));
    held_.clear();
    return;
  }
  const std::size_t sure = held_.size() - possible_start(held_, stops_);
  show_content(held_.substr(0, sure));
  held_.erase(0, sure);
}

void AnswerText::show_content(std::string text) {
  if (content_.empty() && !verbatim_) text.erase(0, text.find_first_not_of("\r\n"));
  if (text.empty()) return;
  content_ += text;
  if (show_) show_(AnswerPart::content, text);
}

std::string without_controls(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) continue;
    if (c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {  // U+0080 to U+009F
      ++i;
      continue;
    }
    out += text[i];
  }
  return out;
}

}  // namespace strata
