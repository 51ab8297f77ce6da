// A model's tokens as what a reader wants: the reasoning, and the answer up to a stop string.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/text_stream.h"

namespace strata {

enum class AnswerPart { reasoning, content };

/// Splits at the tokens <think> and </think>, which it leaves out with the line ends around them, and cuts the content
/// before the first stop string. A tokenizer without those tokens makes all content.
class AnswerText {
 public:
  /// Called with each piece as soon as it is known to belong to the answer; must not throw.
  using Show = std::function<void(AnswerPart part, std::string_view text)>;

  /// `prompt`: whether it leaves a <think> open decides where the answer starts. `verbatim`: a text is completed, so
  /// nothing is split or left out.
  AnswerText(const Tokenizer& tokenizer, const std::vector<TokenId>& prompt, std::vector<std::string> stops,
             bool verbatim, Show show);

  void push(TokenId token);
  /// No token comes any more: shows what was held back.
  void finish();
  /// Whether a stop string came; what follows it is ignored.
  bool stopped() const { return stopped_; }

  const std::string& reasoning() const { return reasoning_; }
  const std::string& content() const { return content_; }

 private:
  void add(std::string text);
  void add_reasoning(std::string text);
  void add_content(const std::string& text);
  void show_content(std::string text);
  void close_part();

  TextStream stream_;
  std::optional<TokenId> open_, close_;
  std::vector<std::string> stops_;
  bool verbatim_, stopped_ = false;
  Show show_;
  AnswerPart part_ = AnswerPart::content;
  std::string reasoning_, content_;
  std::string line_ends_;  // of the reasoning: shown once something follows
  std::string held_;       // of the content: may be the start of a stop string
};

/// `text` without what could command a terminal: control characters other than tab and line end.
std::string without_controls(std::string_view text);

}  // namespace strata
