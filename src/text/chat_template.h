// A model's chat template: a conversation in, the text of the prompt out.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/segment.h"

namespace strata {

/// A Jinja template with the settings of transformers' apply_chat_template: trim_blocks, lstrip_blocks, loop controls,
/// tojson without escapes, raise_exception, strftime_now, the generation tag. Immutable; render is thread-safe.
class ChatTemplate {
 public:
  /// `path`: a model folder or a .jinja file. In a folder, chat_template.jinja, else "chat_template" of
  /// tokenizer_config.json: a string, or a list of {name, template} of which "default" is taken; and bos_token,
  /// eos_token and their like from there. Throws Error{bad_model} with file and line.
  static ChatTemplate load(const std::filesystem::path& path);
  /// `name` stands before the line in messages. Throws Error{bad_model}.
  static ChatTemplate parse(std::string source, std::string name);

  /// `context`: messages, tools, add_generation_prompt and any variables of the template, already in its form. What
  /// its strings end up in is from_input, but bos_token, eos_token and their like count as the template's.
  /// Pieces of one origin are joined. Throws Error{usage}, with template name and line, for raise_exception, for what
  /// the template can't do with this context, and for more than 16 MiB of output, 50 million steps or integers beyond
  /// 64 bits.
  std::vector<TextSegment> render(const Json& context) const;

  const std::string& source() const;

 private:
  struct Parsed;
  explicit ChatTemplate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  static ChatTemplate parse(std::string source, std::string name, Json special_tokens);
  std::shared_ptr<const Parsed> parsed_;
};

/// The text of the segments, one after the other.
std::string joined(std::span<const TextSegment> segments);

/// An OpenAI chat request, {messages, tools, add_generation_prompt (true), chat_template_kwargs}, as the context of a
/// template: content in text parts becomes one string with line ends between the parts, `developer` becomes `system`,
/// arguments of tool calls given as JSON text become objects, chat_template_kwargs become variables.
/// Throws Error{usage} with the JSON path for other shapes and for kwargs that would replace messages, tools or a
/// special token.
Json template_context(const Json& request);

}  // namespace strata
