#include "apps/text_commands.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace strata {
namespace {

std::string read_stdin() {
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (std::cin.bad()) throw Error(ErrorCode::failure, "stdin can't be read");
  return text;
}

/// What a user typed or piped is no model file: broken JSON there is a usage error.
Json parse_stdin(const std::string& text) {
  try {
    return parse_json(text, "stdin");
  } catch (const Error& e) {
    throw Error(ErrorCode::usage, e.what());
  }
}

/// Ids as `tokenize` prints them: a JSON object with "ids", a JSON array, or numbers apart by white space.
std::vector<TokenId> read_ids(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && (text[first] == '{' || text[first] == '[')) {
    const Json json = parse_stdin(text);
    const Json& list = json.is_object() && json.contains("ids") ? json.at("ids") : json;
    if (!list.is_array()) throw Error(ErrorCode::usage, "stdin: expected token ids as {\"ids\": [1, 2]} or [1, 2]");
    std::vector<TokenId> ids;
    for (const Json& id : list) {
      if (!id.is_number_integer() || id < 0 || id > 0x7fffffff)
        throw Error(ErrorCode::usage, "stdin: expected token ids, found " + id.dump());
      ids.push_back(id.get<TokenId>());
    }
    return ids;
  }
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at != end && std::isspace(static_cast<unsigned char>(*at))) ++at;
    if (at == end) return ids;
    TokenId id = 0;
    const auto [after, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0)
      throw Error(ErrorCode::usage, "stdin: expected token ids, found \"" + std::string(at, std::min(at + 20, end)) +
                                        "\"; write them apart by spaces or as {\"ids\": [1, 2]}");
    ids.push_back(id);
    at = after;
  }
}

struct Options {
  std::string path;
  bool json = false, no_special = false, text = false;
};

void tokenize(const Options& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.path);
  const std::vector<TokenId> ids = tokenizer.encode(read_stdin(), {.post_process = !options.no_special});
  if (options.json) {
    std::cout << Json{{"ids", ids}}.dump() << '\n';
    return;
  }
  for (std::size_t i = 0; i < ids.size(); ++i) std::cout << (i ? " " : "") << ids[i];
  std::cout << '\n';
}

}  // namespace

void add_text_commands(CLI::App& program) {
  auto options = std::make_shared<Options>();

  CLI::App* encode = program.add_subcommand("tokenize", "Turn the text on stdin into token ids.");
  encode->add_option("PATH", options->path, "A model folder or a tokenizer.json")->required();
  encode->add_flag("--json", options->json, "Print {\"ids\": [...]}");
  encode->add_flag("--no-special", options->no_special, "Leave out what the post-processor adds");
  encode->callback([options] { tokenize(*options); });

  CLI::App* decode = program.add_subcommand("detokenize", "Turn the token ids on stdin into text.");
  decode->add_option("PATH", options->path, "A model folder or a tokenizer.json")->required();
  decode->callback([options] { std::cout << Tokenizer::load(options->path).decode(read_ids(read_stdin())); });

  CLI::App* render = program.add_subcommand("template", "Render the chat request (JSON) on stdin as a prompt.");
  render->add_option("PATH", options->path, "A model folder or a .jinja file")->required();
  render->add_flag("--text", options->text, "Print the prompt as plain text (the default)");
  render->callback([options] {
    const ChatTemplate chat = ChatTemplate::load(options->path);
    std::cout << joined(chat.render(template_context(parse_stdin(read_stdin()))));
  });
}

}  // namespace strata
