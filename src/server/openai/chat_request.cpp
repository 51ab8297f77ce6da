// Reading POST /v1/chat/completions.
#include "server/openai/chat_request.h"

#include <algorithm>
#include <set>

#include "server/openai/common_fields.h"
#include "server/openai/message_reader.h"

namespace strata {
namespace {

std::string name_in(FieldReader& holder, const std::vector<std::string>& names) {
  const Json* body = holder.object("function");
  if (body == nullptr) throw ApiError::invalid_value(holder.path_of("function"), "expected an object");
  FieldReader function(*body, holder.path_of("function"));
  const auto name = function.string("name");
  if (!name || std::find(names.begin(), names.end(), *name) == names.end())
    throw ApiError::invalid_value(function.path_of("name"), "expected the name of one of the tools");
  return *name;
}

void read_mode(const std::string& mode, bool with_none, const std::string& path, GenerationRequest& out) {
  if (mode == "auto") {
    out.tool_choice = ToolChoice::automatic;
  } else if (mode == "required") {
    out.tool_choice = ToolChoice::required;
  } else if (mode == "none" && with_none) {
    out.tool_choice = ToolChoice::none;
  } else {
    throw ApiError::invalid_value(path, "expected " + std::string(with_none ? "\"none\", " : "") +
                                            "\"auto\" or \"required\", found " + shown(mode));
  }
}

void read_allowed_tools(FieldReader& choice, const std::vector<std::string>& names, const RequestLimits& limits,
                        GenerationRequest& out) {
  const Json* body = choice.object("allowed_tools");
  if (body == nullptr) throw ApiError::invalid_value(choice.path_of("allowed_tools"), "expected an object");
  FieldReader allowed(*body, choice.path_of("allowed_tools"));
  read_mode(allowed.string("mode").value_or("auto"), false, allowed.path_of("mode"), out);
  const Json* tools = allowed.array("tools", limits.tools);
  if (tools == nullptr || tools->empty())
    throw ApiError::invalid_value(allowed.path_of("tools"), "expected at least one tool");
  for (std::size_t i = 0; i < tools->size(); ++i) {
    FieldReader tool((*tools)[i], allowed.path_of("tools[" + std::to_string(i) + "]"));
    out.allowed_tools.push_back(name_in(tool, names));
  }
}

void read_tool_choice(FieldReader& request, const Json& tools, const RequestLimits& limits, GenerationRequest& out) {
  const Json* choice = request.find("tool_choice");
  if (choice == nullptr) return;
  const std::vector<std::string> names = tool_names(tools);
  if (choice->is_string()) {
    read_mode(choice->get<std::string>(), true, "tool_choice", out);
  } else if (choice->is_object()) {
    FieldReader reader(*choice, "tool_choice");
    const auto type = reader.string("type");
    if (type && *type == "function") {
      out.tool_name = name_in(reader, names);
      out.tool_choice = ToolChoice::named;
    } else if (type && *type == "allowed_tools") {
      read_allowed_tools(reader, names, limits, out);
    } else {
      throw ApiError::invalid_value("tool_choice.type", "expected \"function\" or \"allowed_tools\"");
    }
  } else {
    request.refuse("tool_choice", "a string or an object", *choice);
  }
  if (names.empty() && (out.tool_choice == ToolChoice::required || out.tool_choice == ToolChoice::named))
    throw ApiError::invalid_value("tool_choice", "there are no tools to choose from");
}

/// reasoning_effort and chat_template_kwargs, which both may turn the thinking off.
void read_thinking(FieldReader& request, ChatPrompt& prompt, GenerationRequest& out) {
  if (const Json* kwargs = request.object("chat_template_kwargs")) {
    FieldReader reader(*kwargs, "chat_template_kwargs");
    reader.boolean("enable_thinking");
    reader.boolean("truncate_history_thinking");
    prompt.template_kwargs = *kwargs;
  }
  if (const auto effort = request.string("reasoning_effort")) {
    static const std::set<std::string> kEfforts = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
    if (!kEfforts.contains(*effort))
      throw ApiError::invalid_value("reasoning_effort",
                                    "expected \"none\", \"minimal\", \"low\", \"medium\", \"high\", "
                                    "\"xhigh\" or \"max\", found " +
                                        shown(*effort));
    const auto enabled = prompt.template_kwargs.find("enable_thinking");
    if (*effort != "none") {
      out.reasoning_effort = *effort;
    } else if (enabled != prompt.template_kwargs.end() && *enabled == true) {
      throw ApiError::invalid_value("reasoning_effort", "\"none\" contradicts chat_template_kwargs.enable_thinking");
    } else {
      prompt.template_kwargs["enable_thinking"] = false;
    }
  }
  out.thinking_budget = request.integer(kThinkingTokenBudget);
  const auto other = request.integer(kReasoningBudget);
  if (!out.thinking_budget) out.thinking_budget = other;
}

void refuse_unsupported(FieldReader& request) {
  for (const char* name : {"functions", "function_call"}) {
    if (request.find(name) != nullptr)
      throw ApiError::invalid_value(name, "it is not supported; use tools and tool_choice");
  }
  for (const char* name : {"audio", "web_search_options"}) {
    if (request.find(name) != nullptr)
      throw ApiError::invalid_value(name, "it is not supported: this model reads and writes text");
  }
  for (const char* name : {"continue_final_message", "add_generation_prompt"}) {
    const auto value = request.boolean(name);
    if (value && *value != (std::string_view(name) == "add_generation_prompt"))
      throw ApiError::invalid_value(name, "an answer can't go on from the last message here; use /v1/completions");
  }
  if (const Json* modalities = request.array("modalities", 8); modalities != nullptr && *modalities != Json({"text"}))
    request.refuse("modalities", "[\"text\"]", *modalities);
}

}  // namespace

ApiRequest read_chat_request(std::string_view body, const RequestOptions& options) {
  const Json json = parse_body(body, options.limits.json_depth);
  FieldReader request(json, "");
  ApiRequest out;
  read_common_fields(request, options, out);
  GenerationRequest& generation = out.generation;
  refuse_unsupported(request);
  ChatPrompt prompt;
  prompt.messages = read_messages(request, options.limits);
  prompt.tools = read_tools(request, options.limits);
  read_tool_choice(request, prompt.tools, options.limits, generation);
  generation.parallel_tool_calls = request.boolean("parallel_tool_calls").value_or(true);
  read_thinking(request, prompt, generation);
  generation.max_tokens = read_max_tokens(request, 1);
  generation.logprobs = request.boolean("logprobs").value_or(false);
  NumericField top = kTopLogprobs;
  top.max = options.limits.top_logprobs;
  generation.top_logprobs = static_cast<std::int32_t>(request.integer(top).value_or(0));
  if (generation.top_logprobs > 0 && !generation.logprobs)
    throw ApiError::invalid_value("top_logprobs", "it is for \"logprobs\": true only");
  generation.response_form = read_response_form(request, options.limits);
  generation.prompt = std::move(prompt);
  out.response.logprobs = generation.logprobs;
  out.response.force_nonempty_content = request.boolean("force_nonempty_content").value_or(false);
  if (options.strict_fields) request.refuse_unknown();
  return out;
}

}  // namespace strata
