#include "apps/chat_text.h"

#include <utility>

namespace strata {
namespace {

AnswerStreamOptions stream_options(std::vector<std::string> stops, bool thinking, bool verbatim) {
  AnswerStreamOptions options;
  options.chat = !verbatim;
  options.parser.thinking = thinking;
  std::erase(stops, "");
  options.stop = std::move(stops);
  return options;
}

}  // namespace

AnswerText::AnswerText(const Tokenizer& tokenizer, const std::vector<TokenId>& prompt, std::vector<std::string> stops,
                       bool verbatim, Show show)
    : show_(std::move(show)),
      marks_(tokenizer),
      stream_(tokenizer, marks_, stream_options(std::move(stops), marks_.leave_thinking(prompt), verbatim),
              [this](const AnswerEvent& event) {
                if (const auto* thought = std::get_if<ReasoningDelta>(&event)) {
                  add(AnswerPart::reasoning, thought->text);
                } else if (const auto* text = std::get_if<TextDelta>(&event)) {
                  add(AnswerPart::content, text->text);
                }
              }) {}

void AnswerText::push(TokenId token) { stream_.push({.token = token}); }

void AnswerText::finish() { stream_.finish(AnswerFinish::stop, {}); }

void AnswerText::add(AnswerPart part, const std::string& text) {
  if (text.empty()) return;
  (part == AnswerPart::reasoning ? reasoning_ : content_) += text;
  if (show_) show_(part, text);
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
