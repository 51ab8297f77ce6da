// A model's tokens as what a reader wants: the reasoning, and the answer up to a stop string.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/generation/answer_stream.h"

namespace strata {

enum class AnswerPart { reasoning, content };

/// The parts of an answer, as the server has them (AnswerStream), pieced together.
class AnswerText {
 public:
  /// Called with each piece as soon as it is known to belong to the answer; must not throw.
  using Show = std::function<void(AnswerPart part, std::string_view text)>;

  /// `prompt`: whether it leaves a <think> open decides where the answer starts. `verbatim`: a text is completed, so
  /// nothing is split or left out. `tokenizer` must outlive it.
  AnswerText(const Tokenizer& tokenizer, const std::vector<TokenId>& prompt, std::vector<std::string> stops,
             bool verbatim, Show show);
  AnswerText(const AnswerText&) = delete;
  AnswerText& operator=(const AnswerText&) = delete;

  void push(TokenId token);
  /// No token comes any more: shows what was held back.
  void finish();
  /// Whether a stop string came; what follows it is ignored.
  bool stopped() const { return stream_.ended(); }

  const std::string& reasoning() const { return reasoning_; }
  const std::string& content() const { return content_; }

 private:
  void add(AnswerPart part, const std::string& text);

  const Show show_;
  std::string reasoning_, content_;
  const Marks marks_;
  AnswerStream stream_;
};

/// `text` without what could command a terminal: control characters other than tab and line end.
std::string without_controls(std::string_view text);

}  // namespace strata
