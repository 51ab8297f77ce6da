#include "server/openai/message_reader.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "base/error.h"

namespace strata {
namespace {

std::string at(const std::string& path, std::size_t index) { return path + "[" + std::to_string(index) + "]"; }

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

void check_parts(const Json& parts, const std::string& path, const RequestLimits& limits) {
  if (parts.size() > limits.content_parts)
    throw ApiError::invalid_value(path, "expected at most " + std::to_string(limits.content_parts) + " parts, found " +
                                            std::to_string(parts.size()));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    FieldReader part(parts[i], at(path, i));
    const auto type = part.string("type");
    if (!type) throw ApiError::invalid_value(part.path_of("type"), "expected the type of the part");
    if (*type != "text")
      throw ApiError::invalid_value(part.path_of("type"),
                                    "a part of type " + shown(*type) + " is not supported; this model reads text only");
    if (!part.string("text")) throw ApiError::invalid_value(part.path_of("text"), "expected a string");
  }
}

void check_arguments(FieldReader& function) {
  const Json* arguments = function.find("arguments");
  if (arguments == nullptr || arguments->is_object()) return;
  if (!arguments->is_string()) function.refuse("arguments", "a string with a JSON object", *arguments);
  const auto& text = arguments->get_ref<const std::string&>();
  if (text.empty()) return;
  try {
    if (parse_json(text, "arguments").is_object()) return;
  } catch (const Error& error) {
    throw ApiError::invalid_value(function.path_of("arguments"), error.what());
  }
  function.refuse("arguments", "a string with a JSON object", *arguments);
}

void check_calls(const Json& calls, const std::string& path, const RequestLimits& limits) {
  if (calls.size() > limits.tools)
    throw ApiError::invalid_value(path, "expected at most " + std::to_string(limits.tools) + " calls");
  for (std::size_t i = 0; i < calls.size(); ++i) {
    FieldReader call(calls[i], at(path, i));
    call.string("id");
    if (const auto type = call.string("type"); type && *type != "function")
      throw ApiError::invalid_value(call.path_of("type"), "expected \"function\", found " + shown(*type));
    const Json* body = call.object("function");
    if (body == nullptr) throw ApiError::invalid_value(call.path_of("function"), "expected an object");
    FieldReader function(*body, call.path_of("function"));
    if (const auto name = function.string("name"); !name || name->empty())
      throw ApiError::invalid_value(function.path_of("name"), "expected the name of a function");
    check_arguments(function);
  }
}

Json read_message(const Json& json, const std::string& path, const RequestLimits& limits) {
  FieldReader message(json, path);
  const auto role = message.string("role");
  static const std::set<std::string> kRoles = {"system", "developer", "user", "assistant", "tool"};
  if (!role || !kRoles.contains(*role)) {
    throw ApiError::invalid_value(message.path_of("role"),
                                  "expected \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"" +
                                      (role ? ", found " + shown(*role) : std::string()));
  }
  const bool assistant = *role == "assistant";
  Json out = json;
  const Json* content = message.find("content");
  if (content != nullptr && content->is_array()) {
    check_parts(*content, message.path_of("content"), limits);
  } else if (content != nullptr && !content->is_string()) {
    message.refuse("content", "a string or an array of text parts", *content);
  } else if (content == nullptr) {
    if (!assistant) throw ApiError::invalid_value(message.path_of("content"), "expected a string or text parts");
    out["content"] = "";
  }
  message.string("name");
  message.string("tool_call_id");
  if (!assistant) return out;
  const auto reasoning = message.string("reasoning");
  if (!message.string("reasoning_content") && reasoning) out["reasoning_content"] = *reasoning;
  out.erase("reasoning");
  if (const Json* calls = message.find("tool_calls")) {
    if (!calls->is_array()) message.refuse("tool_calls", "an array", *calls);
    check_calls(*calls, message.path_of("tool_calls"), limits);
  } else {
    out.erase("tool_calls");
  }
  return out;
}

}  // namespace

Json read_messages(FieldReader& request, const RequestLimits& limits) {
  const Json* messages = request.array("messages", limits.messages);
  if (messages == nullptr || messages->empty())
    throw ApiError::invalid_value(request.path_of("messages"), "expected an array of at least one message");
  Json out = Json::array();
  for (std::size_t i = 0; i < messages->size(); ++i)
    out.push_back(read_message((*messages)[i], at(request.path_of("messages"), i), limits));
  return out;
}

Json read_tools(FieldReader& request, const RequestLimits& limits) {
  const Json* tools = request.array("tools", limits.tools);
  if (tools == nullptr || tools->empty()) return nullptr;
  const std::string path = request.path_of("tools");
  if (tools->dump().size() > limits.tool_bytes)
    throw ApiError::invalid_value(path, "expected at most " + std::to_string(limits.tool_bytes) + " bytes of tools");
  std::set<std::string> names;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    FieldReader tool((*tools)[i], at(path, i));
    const auto type = tool.string("type");
    if (!type || *type != "function")
      throw ApiError::invalid_value(tool.path_of("type"), "only tools of type \"function\" are supported");
    const Json* body = tool.object("function");
    if (body == nullptr) throw ApiError::invalid_value(tool.path_of("function"), "expected an object");
    FieldReader function(*body, tool.path_of("function"));
    const auto name = function.string("name");
    if (!name || !is_name(*name))
      throw ApiError::invalid_value(function.path_of("name"), "expected 1 to 64 of the characters A-Z a-z 0-9 _ -");
    if (!names.insert(*name).second) throw ApiError::invalid_value(function.path_of("name"), "it is there twice");
    function.string("description");
    function.boolean("strict");
    const Json* parameters = function.object("parameters");
    if (parameters == nullptr) continue;
    FieldReader schema(*parameters, function.path_of("parameters"));
    if (const Json* kind = schema.find("type"); kind != nullptr && *kind != "object")
      schema.refuse("type", "\"object\"", *kind);
    const Json* properties = schema.object("properties");
    if (properties == nullptr) continue;
    FieldReader(*properties, schema.path_of("properties"));
    for (const auto& [key, value] : properties->items()) {
      if (!value.is_object() && !value.is_boolean())
        throw ApiError::invalid_value(schema.path_of("properties") + "." + key,
                                      "expected a schema, found " + shown(value));
    }
  }
  return *tools;
}

std::vector<std::string> tool_names(const Json& tools) {
  std::vector<std::string> names;
  if (tools.is_null()) return names;
  for (const Json& tool : tools) names.push_back(tool["function"]["name"].get<std::string>());
  return names;
}

}  // namespace strata
