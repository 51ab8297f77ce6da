#include "server/generation/chat_prompt.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace strata {
namespace {

constexpr std::int64_t kLeastSnapshot = 32;  // tokens: to compute fewer is cheaper than to remember them

Json request_of(const ChatPrompt& prompt) {
  Json request = {{"messages", prompt.messages},
                  {"chat_template_kwargs", prompt.template_kwargs},
                  {"add_generation_prompt", prompt.add_generation_prompt}};
  if (!prompt.tools.is_null() && !prompt.tools.empty()) request["tools"] = prompt.tools;
  return request;
}

std::size_t last_user(const Json& messages) {
  for (std::size_t i = messages.size(); i-- > 0;)
    if (messages[i]["role"] == "user") return i;
  return messages.size();
}

/// Tokens at the front of `tokens`, the last one special, that any prompt whose text agrees with `text` in the first
/// `common` bytes has too.
std::int64_t common_tokens(const Tokenizer& tokenizer, std::span<const TokenId> tokens, std::size_t common) {
  std::size_t bytes = 0;
  std::int64_t length = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    bytes += tokenizer.bytes(tokens[i]).size();
    if (bytes > common) break;
    if (tokenizer.is_special(tokens[i])) length = static_cast<std::int64_t>(i) + 1;
  }
  return length;
}

/// How far the texts of two renderings agree, in bytes.
std::size_t agreement(const std::string& text, const ChatTemplate& chat_template, const ChatPrompt& other) {
  try {
    const std::string next = joined(render_chat(chat_template, other));
    return static_cast<std::size_t>(std::mismatch(text.begin(), text.end(), next.begin(), next.end()).first -
                                    text.begin());
  } catch (const Error&) {  // the template doesn't have such conversations
    return 0;
  }
}

Json message(const char* role, const char* content) { return {{"role", role}, {"content", content}}; }

}  // namespace

std::vector<TextSegment> render_chat(const ChatTemplate& chat_template, const ChatPrompt& prompt) {
  return chat_template.render(template_context(request_of(prompt)));
}

void drop_old_thinking(ChatPrompt& prompt) {
  const auto keep = prompt.template_kwargs.find("truncate_history_thinking");
  if (keep != prompt.template_kwargs.end() && *keep == false) return;
  const std::size_t end = last_user(prompt.messages);
  for (std::size_t i = 0; i < end && i < prompt.messages.size(); ++i) prompt.messages[i].erase("reasoning_content");
}

std::vector<std::int64_t> snapshot_points(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                          const ChatPrompt& prompt, std::span<const TextSegment> rendered,
                                          std::span<const TokenId> tokens) {
  const std::string text = joined(rendered);
  std::size_t bytes = 0;
  for (const TokenId token : tokens) bytes += tokenizer.bytes(token).size();
  if (bytes != text.size()) return {};  // normalised: a token's place in the text isn't known

  std::vector<std::int64_t> points;
  const auto add = [&](std::size_t common) {
    if (const std::int64_t length = common_tokens(tokenizer, tokens, common); length >= kLeastSnapshot)
      points.push_back(length);
  };
  const bool has_tools = !prompt.tools.is_null() && !prompt.tools.empty();
  ChatPrompt other = prompt;
  const Json& first = prompt.messages.front();
  const bool has_system = first["role"] == "system" || first["role"] == "developer";
  if (has_system || has_tools) {
    other.messages = Json::array();
    if (has_system) other.messages.push_back(first);
    other.messages.push_back(message("user", "x"));
    add(agreement(text, chat_template, other));
  }
  other.messages = prompt.messages;
  other.messages.push_back(message("assistant", "x"));
  other.messages.push_back(message("user", "y"));
  add(agreement(text, chat_template, other));
  if (has_tools) add(text.size());
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

}  // namespace strata
