// What a template of the Nemotron-3 family makes of a conversation, quoted: the fixture's template has the family's
// rules, and NVIDIA-Nemotron-3-Nano-30B-A3B's own file gives the same strings.
#include <gtest/gtest.h>

#include "text/chat_template.h"

namespace strata {
namespace {

std::string rendered(const std::string& messages, const std::string& rest = "") {
  static const ChatTemplate chat = ChatTemplate::load(STRATA_SOURCE_DIR "/tests/fixtures/templates/nano_like.jinja");
  const Json request = parse_json(R"({"add_generation_prompt": true, "messages": )" + messages + rest + "}", "request");
  return joined(chat.render(template_context(request)));
}

constexpr auto kTwoTurns = R"([{"role": "user", "content": "A"},
                               {"role": "assistant", "reasoning_content": "R", "content": "B"},
                               {"role": "user", "content": "C"}])";

TEST(NemotronTemplate, OpensWithAnEmptySystemBlockAndThinking) {
  EXPECT_EQ(rendered(R"([{"role": "user", "content": "Hi"}])"),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n");
}

TEST(NemotronTemplate, ClosesTheThinkingThatIsSwitchedOff) {
  EXPECT_EQ(rendered(R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])",
                     R"(, "chat_template_kwargs": {"enable_thinking": false})"),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n<think></think>");
}

TEST(NemotronTemplate, ForgetsTheThinkingOfEarlierTurns) {
  EXPECT_EQ(rendered(kTwoTurns),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n<think></think>\nB"
            "<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n<think>\n");
  EXPECT_NE(rendered(kTwoTurns, R"(, "chat_template_kwargs": {"truncate_history_thinking": false})")
                .find("<|im_start|>assistant\n<think>\nR\n</think>\nB<|im_end|>\n"),
            std::string::npos);
}

TEST(NemotronTemplate, WritesToolCallsAndMergesTheirAnswers) {
  const std::string text = rendered(R"json([{"role": "user", "content": "W?"},
      {"role": "assistant", "reasoning_content": "need tool", "content": "", "tool_calls": [{"type": "function",
        "function": {"name": "get_weather",
                     "arguments": "{\"city\": \"Paris\", \"n\": 3, \"o\": {\"a\": 1}, \"b\": true}"}}]},
      {"role": "tool", "content": "21C"}, {"role": "tool", "content": "22C"}])json");
  EXPECT_NE(
      text.find("<|im_start|>user\nW?<|im_end|>\n<|im_start|>assistant\n<think>\nneed tool\n</think>\n<tool_call>\n"
                "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
                "<parameter=o>\n{\"a\": 1}\n</parameter>\n<parameter=b>\nTrue\n</parameter>\n</function>\n"
                "</tool_call>\n<|im_end|>\n<|im_start|>user\n<tool_response>\n21C\n</tool_response>\n"
                "<tool_response>\n22C\n</tool_response>\n<|im_end|>\n<|im_start|>assistant\n<think>\n"),
      std::string::npos)
      << text;
}

TEST(NemotronTemplate, ListsToolsWithTheirSchemas) {
  const std::string text = rendered(R"([{"role": "user", "content": "Hi"}])", R"json(, "tools": [{"type": "function",
      "function": {"name": "get_weather", "description": "Get weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "City"},
        "unit": {"type": "string", "enum": ["c", "f"], "default": "c"}},
        "required": ["city"], "additionalProperties": false}}}])json");
  EXPECT_NE(text.find("# Tools\n\nYou have access to the following functions:\n\n<tools>\n<function>\n"
                      "<name>get_weather</name>\n<description>Get weather</description>\n<parameters>\n<parameter>\n"
                      "<name>city</name>\n<type>string</type>\n<description>City</description>\n</parameter>\n"
                      "<parameter>\n<name>unit</name>\n<type>string</type>\n<enum>[\"c\", \"f\"]</enum>\n"
                      "<default>c</default>\n</parameter>\n<additionalProperties>False</additionalProperties>\n"
                      "<required>[\"city\"]</required>\n</parameters>\n</function>\n</tools>"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace strata
