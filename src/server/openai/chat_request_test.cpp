#include "server/openai/chat_request.h"

#include <gtest/gtest.h>

#include "server/openai/api_error.h"
#include "server/openai/fields.h"

namespace strata {
namespace {

RequestOptions options() {
  RequestOptions out;
  out.model_names = {"demo", "alias"};
  return out;
}

Json chat_body() { return Json::parse(R"({"messages": [{"role": "user", "content": "Hi"}]})"); }
Json completion_body() { return Json::parse(R"({"prompt": "Hi"})"); }

const Json kTool = Json::parse(
    R"({"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}})");

struct Refusal {
  int status = 0;  // 0: accepted
  std::string code, param;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.status << " " << refusal.code << " " << refusal.param;
}

Refusal read(bool chat, const std::string& body, const RequestOptions& with = options()) {
  try {
    chat ? read_chat_request(body, with) : read_completion_request(body, with);
    return {};
  } catch (const ApiError& error) {
    EXPECT_FALSE(std::string(error.what()).empty());
    const Json json = error.body()["error"];
    EXPECT_TRUE(json.contains("message") && json.contains("type") && json.contains("param") && json.contains("code"));
    return {error.status(), error.code().value_or(""), error.param().value_or("")};
  }
}

const Refusal kAccepted;
Refusal invalid(const std::string& param) { return {400, "invalid_value", param}; }

Refusal chat_with(const std::string& field, const Json& value) {
  Json body = chat_body();
  body[field] = value;
  return read(true, body.dump());
}

Refusal completion_with(const std::string& field, const Json& value) {
  Json body = completion_body();
  body[field] = value;
  return read(false, body.dump());
}

void expect_number(const NumericField& field, Refusal (*with)(const std::string&, const Json&)) {
  SCOPED_TRACE(field.name);
  const double step = field.integer ? 1 : 0.001;
  const auto number = [&](double value) {
    return field.integer ? Json(static_cast<std::int64_t>(value)) : Json(value);
  };
  EXPECT_EQ(with(field.name, number(field.min)), kAccepted);
  EXPECT_EQ(with(field.name, number(field.max)), kAccepted);
  EXPECT_EQ(with(field.name, number(field.min - step)), invalid(field.name));
  EXPECT_EQ(with(field.name, number(field.max + step)), invalid(field.name));
  EXPECT_EQ(with(field.name, nullptr), kAccepted);
  for (const Json& wrong : {Json("1"), Json(true), Json::array({1}), Json::object(), Json(1e300), Json(-1e300)})
    EXPECT_EQ(with(field.name, wrong), invalid(field.name)) << wrong;
  if (field.integer) {
    EXPECT_EQ(with(field.name, field.min + 0.5), invalid(field.name));
  }
}

TEST(RequestTest, EveryNumberIsHeldToItsTypeAndRange) {
  for (const NumericField& field : kCommonNumbers) {
    expect_number(field, chat_with);
    expect_number(field, completion_with);
  }
  for (const NumericField& field : {kMaxTokens, kMaxCompletionTokens, kThinkingTokenBudget, kReasoningBudget})
    expect_number(field, chat_with);
  expect_number({"n", 1, 8, true}, chat_with);
  expect_number({"n", 1, 8, true}, completion_with);
  expect_number({"max_tokens", 0, kInt32Max, true}, completion_with);
  expect_number({"logprobs", 0, 20, true}, completion_with);
  expect_number({"prompt_logprobs", 0, 20, true}, completion_with);
}

TEST(RequestTest, EveryFieldOfAnotherTypeIsHeldToIt) {
  const auto expect = [](const std::string& field, const std::vector<Json>& right, const std::vector<Json>& wrong,
                         Refusal (*with)(const std::string&, const Json&)) {
    EXPECT_EQ(with(field, nullptr), kAccepted) << field;
    for (const Json& value : right) EXPECT_EQ(with(field, value), kAccepted) << field << " " << value;
    for (const Json& value : wrong) {
      const Refusal refusal = with(field, value);
      EXPECT_EQ(refusal.status, 400) << field << " " << value;
      EXPECT_TRUE(refusal.param.starts_with(field)) << field << " " << value << ": " << refusal.param;
    }
  };
  for (auto* with : {chat_with, completion_with}) {
    for (const char* field : {"stream", "ignore_eos", "include_stop_str_in_output"})
      expect(field, {true, false}, {1, "true", Json::array()}, with);
    expect("seed", {0, -5, 18446744073709551615U, INT64_MIN}, {"1", 1.5, true, 1e30}, with);
    expect("stop", {"x", Json::array(), Json::array({"a", "b"}), std::string(256, 'x')},
           {1, "", Json::array({1}), Json::array({""}), std::string(257, 'x'), Json(std::vector<std::string>(17, "x"))},
           with);
    expect("stop_token_ids", {Json::array({1, 2})}, {1, Json::array({-1}), Json::array({"a"})}, with);
    expect("logit_bias", {Json({{"5", 1.5}}), Json({{" the", -100}}), Json::array({Json::array({5, 1})})},
           {"x", 1, Json({{"5", 101}}), Json({{"5", "1"}}), Json::array({5}), Json::array({Json::array({-1, 1})})},
           with);
    expect("cache_salt", {"tenant"}, {1, std::string(1025, 'x')}, with);
    expect("user", {"me"}, {}, with);
    expect("guided_json", {}, {Json::object()}, with);
    expect("grammar", {}, {"root ::= x"}, with);
    expect("structured_outputs", {Json({{"json", {{"type", "object"}}}}), Json({{"choice", {"a", "b"}}})},
           {1, Json::object(), Json({{"regex", "a"}}), Json({{"choice", {1}}}), Json({{"json", 1}})}, with);
    expect("response_format",
           {Json({{"type", "text"}}), Json({{"type", "json_object"}}),
            Json({{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", {{"type", "object"}}}}}})},
           {1, "json_object", Json::object(), Json({{"type", "xml"}}), Json({{"type", "json_schema"}}),
            Json({{"type", "json_schema"}, {"json_schema", {{"name", "x"}}}}),
            Json({{"type", "json_schema"}, {"json_schema", {{"schema", 5}}}})},
           with);
  }
  expect("logprobs", {true, false}, {1, "yes"}, chat_with);
  expect("parallel_tool_calls", {true, false}, {1}, chat_with);
  expect("force_nonempty_content", {true}, {1}, chat_with);
  expect("reasoning_effort", {"none", "low", "high"}, {"no", 1}, chat_with);
  expect("chat_template_kwargs", {Json({{"enable_thinking", false}}), Json::object()},
         {1, Json({{"enable_thinking", "no"}})}, chat_with);
  expect("functions", {}, {Json::array()}, chat_with);
  expect("audio", {}, {Json::object()}, chat_with);
  expect("modalities", {Json::array({"text"})}, {Json::array({"audio"}), 1}, chat_with);
  expect("continue_final_message", {false}, {true, 1}, chat_with);
  expect("echo", {true, false}, {1, "true"}, completion_with);
  expect("suffix", {""}, {"x", 1}, completion_with);
  expect("best_of", {1}, {2, "1"}, completion_with);
}

TEST(RequestTest, ModelIsTheServedOneAnAliasOrAbsent) {
  EXPECT_EQ(chat_with("model", "demo"), kAccepted);
  EXPECT_EQ(chat_with("model", "alias"), kAccepted);
  EXPECT_EQ(chat_with("model", ""), kAccepted);
  EXPECT_EQ(chat_with("model", "gpt-4"), (Refusal{404, "model_not_found", "model"}));
  EXPECT_EQ(chat_with("model", 5), invalid("model"));
  RequestOptions any = options();
  any.any_model = true;
  Json body = chat_body();
  body["model"] = "gpt-4";
  EXPECT_EQ(read_chat_request(body.dump(), any).model, "demo");
}

TEST(RequestTest, BodiesThatAreNoRequestAreRefused) {
  for (const char* body :
       {"", "[]", "1", "\"x\"", "null", "{", "{}x", "{\"a\":1,\"a\":2}", "\xEF\xBB\xBF{}", "{\"a\":NaN}"}) {
    for (const bool chat : {true, false}) {
      const Refusal refusal = read(chat, body);
      EXPECT_EQ(refusal.status, 400) << body;
      EXPECT_EQ(refusal.code, "invalid_json") << body;
    }
  }
  EXPECT_EQ(read(true, "{\"a\":\"\xFF\"}").code, "invalid_utf8");
  EXPECT_EQ(read(true, R"({"messages":[{"role":"user","content":"\ud800"}]})").status, 400);
  std::string deep = R"({"messages":[{"role":"user","content":"x"}],"x":)";
  EXPECT_EQ(read(true, deep + std::string(100000, '[')).code, "invalid_json");
  EXPECT_EQ(read(true, "{}"), invalid("messages"));
  EXPECT_EQ(read(false, "{}"), invalid("prompt"));
}

TEST(RequestTest, MessagesAreHeldToTheirShape) {
  const auto with = [](const char* messages) { return read(true, "{\"messages\":" + std::string(messages) + "}"); };
  EXPECT_EQ(with("[]"), invalid("messages"));
  EXPECT_EQ(with("{}"), invalid("messages"));
  EXPECT_EQ(with("[1]"), invalid("messages[0]"));
  EXPECT_EQ(with(R"([{"content":"x"}])"), invalid("messages[0].role"));
  EXPECT_EQ(with(R"([{"role":"robot","content":"x"}])"), invalid("messages[0].role"));
  EXPECT_EQ(with(R"([{"role":"user"}])"), invalid("messages[0].content"));
  EXPECT_EQ(with(R"([{"role":"user","content":5}])"), invalid("messages[0].content"));
  EXPECT_EQ(with(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])"), kAccepted);
  EXPECT_EQ(with(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])"),
            invalid("messages[0].content[0].type"));
  EXPECT_EQ(with(R"([{"role":"user","content":[{"type":"text"}]}])"), invalid("messages[0].content[0].text"));
  EXPECT_EQ(with(R"([{"role":"assistant","content":null},{"role":"user","content":"x"}])"), kAccepted);
  EXPECT_EQ(with(R"([{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}])"),
            kAccepted);
  EXPECT_EQ(with(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}])"),
            invalid("messages[0].tool_calls[0].function.arguments"));
  EXPECT_EQ(with(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[]"}}]}])"),
            invalid("messages[0].tool_calls[0].function.arguments"));
  EXPECT_EQ(with(R"([{"role":"assistant","tool_calls":[{"function":{}}]}])"),
            invalid("messages[0].tool_calls[0].function.name"));
  EXPECT_EQ(with(R"([{"role":"assistant","tool_calls":{}}])"), invalid("messages[0].tool_calls"));
}

TEST(RequestTest, ReasoningOfHistoryIsTakenUnderBothNames) {
  for (const char* name : {"reasoning", "reasoning_content"}) {
    Json body = chat_body();
    body["messages"].push_back({{"role", "assistant"}, {"content", "x"}, {name, "because"}});
    const ApiRequest request = read_chat_request(body.dump(), options());
    const Json message = std::get<ChatPrompt>(request.generation.prompt).messages.back();
    EXPECT_EQ(message["reasoning_content"], "because");
    EXPECT_FALSE(message.contains("reasoning"));
  }
}

TEST(RequestTest, ToolsAreHeldToTheirShape) {
  const auto with = [](const char* tools) { return chat_with("tools", Json::parse(tools)); };
  EXPECT_EQ(with("[]"), kAccepted);
  EXPECT_EQ(chat_with("tools", Json::array({kTool})), kAccepted);
  EXPECT_EQ(with("{}"), invalid("tools"));
  EXPECT_EQ(with("[5]"), invalid("tools[0]"));
  EXPECT_EQ(with(R"([{"type":"web_search"}])"), invalid("tools[0].type"));
  EXPECT_EQ(with(R"([{"type":"function"}])"), invalid("tools[0].function"));
  EXPECT_EQ(with(R"([{"type":"function","function":{"name":"a b"}}])"), invalid("tools[0].function.name"));
  EXPECT_EQ(with(R"([{"type":"function","function":{"name":"f","parameters":"x"}}])"),
            invalid("tools[0].function.parameters"));
  EXPECT_EQ(with(R"([{"type":"function","function":{"name":"f","parameters":{"type":"string"}}}])"),
            invalid("tools[0].function.parameters.type"));
  EXPECT_EQ(with(R"([{"type":"function","function":{"name":"f","parameters":{"properties":{"a":5}}}}])"),
            invalid("tools[0].function.parameters.properties.a"));
  EXPECT_EQ(chat_with("tools", Json::array({kTool, kTool})), invalid("tools[1].function.name"));
  EXPECT_EQ(chat_with("tools", Json(std::vector<Json>(129, kTool))), invalid("tools"));
}

TEST(RequestTest, ToolChoiceNamesWhatThereIs) {
  const auto with = [](const char* choice) {
    Json body = chat_body();
    body["tools"] = Json::array({kTool});
    body["tool_choice"] = Json::parse(choice);
    return body.dump();
  };
  const auto choice_of = [&](const char* choice) {
    return read_chat_request(with(choice), options()).generation.tool_choice;
  };
  EXPECT_EQ(choice_of("\"auto\""), ToolChoice::automatic);
  EXPECT_EQ(choice_of("\"none\""), ToolChoice::none);
  EXPECT_EQ(choice_of("\"required\""), ToolChoice::required);
  EXPECT_EQ(choice_of(R"({"type":"function","function":{"name":"now"}})"), ToolChoice::named);
  EXPECT_EQ(choice_of(R"({"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function",
                          "function":{"name":"now"}}]}})"),
            ToolChoice::required);
  EXPECT_EQ(read(true, with("\"maybe\"")), invalid("tool_choice"));
  EXPECT_EQ(read(true, with("5")), invalid("tool_choice"));
  EXPECT_EQ(read(true, with(R"({"type":"function","function":{"name":"then"}})")),
            invalid("tool_choice.function.name"));
  EXPECT_EQ(chat_with("tool_choice", "required"), invalid("tool_choice"));
  EXPECT_EQ(chat_with("tool_choice", "none"), kAccepted);
}

TEST(RequestTest, FieldsThatContradictAreRefused) {
  EXPECT_EQ(chat_with("top_logprobs", 3), invalid("top_logprobs"));
  EXPECT_EQ(chat_with("stream_options", Json({{"include_usage", true}})), invalid("stream_options"));
  EXPECT_EQ(chat_with("return_progress", "yes"), invalid("return_progress"));
  Json body = chat_body();
  body["chat_template_kwargs"] = {{"enable_thinking", true}};
  body["reasoning_effort"] = "none";
  EXPECT_EQ(read(true, body.dump()), invalid("reasoning_effort"));
  body = chat_body();
  body["response_format"] = {{"type", "json_object"}};
  body["structured_outputs"] = {{"choice", {"a"}}};
  EXPECT_EQ(read(true, body.dump()), invalid("structured_outputs"));
}

TEST(RequestTest, ValuesArriveWhereTheyBelong) {
  const ApiRequest request = read_chat_request(R"({"messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5,
    "top_k": -1, "top_p": 0, "max_tokens": 9, "max_completion_tokens": 7, "seed": -1, "stop": "x", "n": 3, "stream": true,
    "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 4, "repeat_penalty": 1.5,
    "logit_bias": {"5": -1, "the": 2}, "reasoning_effort": "none", "timeout_ms": 50, "priority": -3,
    "reasoning_budget": 64, "return_progress": true})",
                                               options());
  const GenerationRequest& generation = request.generation;
  EXPECT_EQ(generation.temperature, 0.5F);
  EXPECT_EQ(generation.top_k, 0);
  EXPECT_GT(*generation.top_p, 0);
  EXPECT_EQ(generation.max_tokens, 7);
  EXPECT_EQ(generation.seed, UINT64_MAX);
  EXPECT_EQ(generation.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(generation.n, 3);
  EXPECT_EQ(generation.top_logprobs, 4);
  EXPECT_EQ(generation.repetition_penalty, 1.5F);
  EXPECT_EQ(generation.priority, -3);
  EXPECT_EQ(generation.thinking_budget, 64);
  EXPECT_TRUE(generation.prompt_progress);
  ASSERT_EQ(generation.logit_bias.size(), 2U);
  EXPECT_EQ(std::get<TokenId>(generation.logit_bias[0].first), 5);
  EXPECT_EQ(std::get<std::string>(generation.logit_bias[1].first), "the");
  EXPECT_EQ(std::get<ChatPrompt>(generation.prompt).template_kwargs["enable_thinking"], false);
  EXPECT_EQ(request.timeout_ms, 50);
  EXPECT_TRUE(request.response.stream && request.response.include_usage && request.response.logprobs);
}

TEST(RequestTest, PromptsOfCompletionsComeInFourShapes) {
  const auto prompts = [](const char* prompt) {
    const ApiRequest request = read_completion_request("{\"prompt\":" + std::string(prompt) + "}", options());
    return std::get<std::vector<TextPrompt>>(request.generation.prompt);
  };
  EXPECT_EQ(prompts("\"a\"").size(), 1U);
  EXPECT_EQ(prompts("[\"a\",\"b\"]").size(), 2U);
  EXPECT_EQ(std::get<std::vector<TokenId>>(prompts("[1,2,3]").at(0)), (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(prompts("[[1,2],[3]]").size(), 2U);
  EXPECT_EQ(completion_with("prompt", Json::array()), invalid("prompt"));
  EXPECT_EQ(completion_with("prompt", Json::array({1, "a"})), invalid("prompt[1]"));
  EXPECT_EQ(completion_with("prompt", Json(std::vector<std::string>(65, "a"))), invalid("prompt"));
  EXPECT_EQ(completion_with("prompt", Json::array({1, -1})), invalid("prompt[1]"));
}

TEST(RequestTest, UnknownFieldsAreIgnoredUnlessStrict) {
  EXPECT_EQ(chat_with("flavour", "sweet"), kAccepted);
  RequestOptions strict = options();
  strict.strict_fields = true;
  Json body = chat_body();
  body["temperature"] = 1;
  body["user"] = "me";
  EXPECT_EQ(read(true, body.dump(), strict), kAccepted);
  body["flavour"] = "sweet";
  EXPECT_EQ(read(true, body.dump(), strict), invalid("flavour"));
}

}  // namespace
}  // namespace strata
