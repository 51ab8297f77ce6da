// Turns an OpenAI chat request into the context of a chat template.
#include <utility>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/jinja_special_tokens.h"

namespace strata {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(ErrorCode::usage, path + ": " + why);
}

std::string kind_of(const Json& value) { return value.type_name(); }

std::string at(const std::string& path, std::size_t index) { return path + "[" + std::to_string(index) + "]"; }

// Text parts as one string, as vLLM and llama.cpp join them: templates expect strings.
Json flattened(const Json& content, const std::string& path) {
  if (content.is_null() || content.is_string()) return content;
  if (!content.is_array()) refuse(path, "expected a string or an array of text parts, found " + kind_of(content));
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string())
      refuse(at(path, i), "expected a part with a string \"type\"");
    const std::string type = part["type"].get<std::string>();
    if (type != "text") refuse(at(path, i), "a part of type \"" + type + "\" is not supported; only \"text\" is");
    if (!part.contains("text") || !part["text"].is_string()) refuse(at(path, i) + ".text", "expected a string");
    if (i > 0) text += '\n';
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

// Templates walk through the arguments of a call, which clients send as JSON text.
Json with_parsed_arguments(Json call, const std::string& path) {
  if (!call.is_object()) refuse(path, "expected an object, found " + kind_of(call));
  const bool nested = call.contains("function");
  Json& function = nested ? call["function"] : call;
  const std::string place = nested ? path + ".function" : path;
  if (!function.is_object()) refuse(place, "expected an object, found " + kind_of(function));
  if (!function.contains("name") || !function["name"].is_string()) refuse(place + ".name", "expected a string");
  const auto found = function.find("arguments");
  if (found == function.end()) return call;
  if (found->is_string()) {
    const std::string text = found->get<std::string>();
    try {
      *found = text.empty() ? Json::object() : parse_json(text, place + ".arguments");
    } catch (const Error& error) {
      throw Error(ErrorCode::usage, error.what());
    }
  }
  if (!found->is_object()) refuse(place + ".arguments", "expected a JSON object, found " + kind_of(*found));
  return call;
}

Json template_message(Json message, const std::string& path) {
  if (!message.is_object()) refuse(path, "expected an object, found " + kind_of(message));
  if (!message.contains("role") || !message["role"].is_string()) refuse(path + ".role", "expected a string");
  if (message["role"] == "developer") message["role"] = "system";
  if (message.contains("content")) message["content"] = flattened(message["content"], path + ".content");
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || calls->is_null()) return message;
  if (!calls->is_array()) refuse(path + ".tool_calls", "expected an array, found " + kind_of(*calls));
  for (std::size_t i = 0; i < calls->size(); ++i)
    (*calls)[i] = with_parsed_arguments(std::move((*calls)[i]), at(path + ".tool_calls", i));
  return message;
}

}  // namespace

Json template_context(const Json& request) {
  if (!request.is_object()) refuse("request", "expected an object, found " + kind_of(request));
  const auto messages = request.find("messages");
  if (messages == request.end() || !messages->is_array() || messages->empty())
    refuse("messages", "expected an array of at least one message");
  Json context = Json::object();
  Json& out = context["messages"] = Json::array();
  for (std::size_t i = 0; i < messages->size(); ++i) out.push_back(template_message((*messages)[i], at("messages", i)));

  if (const auto tools = request.find("tools"); tools != request.end() && !tools->is_null()) {
    if (!tools->is_array()) refuse("tools", "expected an array, found " + kind_of(*tools));
    for (std::size_t i = 0; i < tools->size(); ++i) {
      if (!(*tools)[i].is_object()) refuse(at("tools", i), "expected an object, found " + kind_of((*tools)[i]));
    }
    context["tools"] = *tools;
  }
  const Json prompt = request.value("add_generation_prompt", Json(true));
  if (!prompt.is_boolean()) refuse("add_generation_prompt", "expected true or false, found " + kind_of(prompt));
  context["add_generation_prompt"] = prompt;

  const auto kwargs = request.find("chat_template_kwargs");
  if (kwargs == request.end() || kwargs->is_null()) return context;
  if (!kwargs->is_object()) refuse("chat_template_kwargs", "expected an object, found " + kind_of(*kwargs));
  for (const auto& [name, value] : kwargs->items()) {
    // A special token counts as the template's text, so a request must not choose it.
    if (name == "messages" || name == "tools" || is_special_token_name(name))
      refuse("chat_template_kwargs." + name, "can't be set here");
    context[name] = value;
  }
  return context;
}

}  // namespace strata
