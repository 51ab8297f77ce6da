// Loads chat templates and renders them.
#include "text/chat_template.h"

#include "base/error.h"
#include "base/file.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"
#include "text/jinja_special_tokens.h"

namespace strata {
namespace {

constexpr std::int64_t kMaxTemplateBytes = 4 << 20;

// A token is a string or, in older files, {"content": string, ...}; null if it is neither.
Json token_text(const Json& token) {
  if (token.is_object() && token.contains("content")) return token_text(token["content"]);
  return token.is_string() ? token : Json();
}

std::string template_in_config(const Json& config, const std::string& path) {
  const auto found = config.find("chat_template");
  if (found != config.end() && found->is_string()) return found->get<std::string>();
  if (found != config.end() && found->is_array()) {
    for (const Json& entry : *found) {
      if (entry.is_object() && entry.value("name", Json()) == "default" && entry.value("template", Json()).is_string())
        return entry["template"].get<std::string>();
    }
    throw Error(ErrorCode::bad_model, path + ": expected a template named \"default\" in \"chat_template\"");
  }
  throw Error(ErrorCode::bad_model, path + ": expected a \"chat_template\", or a file chat_template.jinja beside it");
}

}  // namespace

struct ChatTemplate::Parsed {
  std::string source, name;
  jinja::Block block;
  Json special_tokens;
};

ChatTemplate ChatTemplate::load(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return parse(read_text(path, kMaxTemplateBytes), path.string());
  const std::filesystem::path config_path = path / "tokenizer_config.json", jinja_path = path / "chat_template.jinja";
  Json config = std::filesystem::exists(config_path) ? read_json(config_path) : Json::object();
  if (!config.is_object()) throw Error(ErrorCode::bad_model, config_path.string() + ": expected a JSON object");
  Json tokens = Json::object();
  for (const char* name : kSpecialTokenNames) {
    if (const Json text = token_text(config.value(name, Json())); text.is_string()) tokens[name] = text;
  }
  if (std::filesystem::exists(jinja_path))
    return parse(read_text(jinja_path, kMaxTemplateBytes), jinja_path.string(), std::move(tokens));
  return parse(template_in_config(config, config_path.string()), config_path.string() + " chat_template",
               std::move(tokens));
}

ChatTemplate ChatTemplate::parse(std::string source, std::string name) {
  return parse(std::move(source), std::move(name), Json::object());
}

ChatTemplate ChatTemplate::parse(std::string source, std::string name, Json special_tokens) {
  auto parsed = std::make_shared<Parsed>();
  try {
    parsed->block = jinja::parse(source);
  } catch (const jinja::SyntaxError& error) {
    throw Error(ErrorCode::bad_model, name + ":" + std::to_string(error.line) + ": " + error.message);
  } catch (const jinja::Failure& failure) {  // a literal beyond the limits of a value
    throw Error(ErrorCode::bad_model, name + ": " + failure.what());
  }
  parsed->source = std::move(source);
  parsed->name = std::move(name);
  parsed->special_tokens = std::move(special_tokens);
  return ChatTemplate(std::move(parsed));
}

std::vector<TextSegment> ChatTemplate::render(const Json& context) const {
  if (!context.is_object()) throw Error(ErrorCode::usage, parsed_->name + ": expected an object as context");
  try {
    jinja::Variables variables;
    for (const auto& [name, value] : parsed_->special_tokens.items()) {
      if (!context.contains(name)) variables.emplace_back(name, jinja::from_json(value, false));
    }
    for (const auto& [name, value] : context.items())
      variables.emplace_back(name, jinja::from_json(value, !is_special_token_name(name)));
    return jinja::Interpreter().render(parsed_->block, variables).segments();
  } catch (const jinja::Failure& failure) {
    const std::string place = failure.line > 0 ? ":" + std::to_string(failure.line) : "";
    // Told to whoever sent the messages, who needn't know where the model lies.
    throw Error(ErrorCode::usage,
                std::filesystem::path(parsed_->name).filename().string() + place + ": " + failure.what());
  }
}

const std::string& ChatTemplate::source() const { return parsed_->source; }

std::string joined(std::span<const TextSegment> segments) {
  std::string out;
  for (const TextSegment& segment : segments) out += segment.text;
  return out;
}

}  // namespace strata
