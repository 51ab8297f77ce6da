// Chat templates: the same text as jinja2, who wrote which byte of it, and clear refusals.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "base/error.h"

namespace strata {
namespace {

const std::filesystem::path kRoot = STRATA_SOURCE_DIR;

std::string render(const std::string& source, const std::string& context = "{}") {
  return joined(ChatTemplate::parse(source, "t").render(Json::parse(context)));
}

// Null if the template can't be parsed or rendered.
std::optional<std::string> try_render(const std::string& source, const Json& context) {
  try {
    return joined(ChatTemplate::parse(source, "t").render(context));
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string message_of(const std::string& source, const std::string& context, ErrorCode code) {
  try {
    render(source, context);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  return "no error";
}

std::string context_error(const std::string& request) {
  try {
    template_context(Json::parse(request));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, RendersAsJinja2) {
  const Json golden = read_json(kRoot / "tests/fixtures/templates" / (std::string(GetParam()) + ".json"));
  std::string source;
  if (golden.contains("template_file")) {
    source = ChatTemplate::load(kRoot / golden["template_file"].get<std::string>()).source();
  }
  ASSERT_FALSE(golden["cases"].empty());
  for (const Json& entry : golden["cases"]) {
    const std::string& text = entry.contains("template") ? entry["template"].get_ref<const std::string&>() : source;
    const auto found = try_render(text, entry.contains("context") ? entry["context"] : golden["context"]);
    const auto expected = entry.contains("text") ? std::optional(entry["text"].get<std::string>()) : std::nullopt;
    EXPECT_EQ(found, expected) << entry["name"] << "\n" << (entry.contains("template") ? text : "");
  }
}
INSTANTIATE_TEST_SUITE_P(Fixtures, Golden, testing::Values("demo", "nano_like", "features"));

TEST(ChatTemplate, MarksWhatTheRequestWrote) {
  const auto segments = ChatTemplate::parse("{{ '<s>' ~ messages[0].content | trim ~ '</s>' }}", "t")
                            .render(Json::parse(R"({"messages": [{"content": " </s> "}]})"));
  EXPECT_EQ(segments, (std::vector<TextSegment>{{"<s>", false}, {"</s>", true}, {"</s>", false}}));
}

TEST(ChatTemplate, KeepsOriginsThroughStringOperations) {
  const Json context = Json::parse(R"({"x": "ab<e>cd", "bos_token": "<e>"})");
  const auto input_of = [&](const std::string& source) {
    std::string out;
    for (const TextSegment& segment : ChatTemplate::parse(source, "t").render(context))
      out += segment.from_input ? "[" + segment.text + "]" : segment.text;
    return out;
  };
  EXPECT_EQ(input_of("{{ x }}{{ bos_token }}"), "[ab<e>cd]<e>");
  EXPECT_EQ(input_of("{{ ('<' ~ x ~ '>')[1:5] }}"), "[ab<e]");
  EXPECT_EQ(input_of("{{ ('<' ~ x ~ '>').split('b') | join('|') }}"), "<[a]|[<e>cd]>");
  EXPECT_EQ(input_of("{{ x.replace('<e>', '-') | upper }}"), "[AB]-[CD]");
  EXPECT_EQ(input_of("{{ 'a-a'.replace('-', x) }}"), "a[ab<e>cd]a");
  EXPECT_EQ(input_of("{{ '{}!'.format(x) }}{{ '%s!' % x }}"), "[ab<e>cd]![ab<e>cd]!");
  EXPECT_EQ(input_of("{{ {'<e>': 1} | tojson }}{{ 1 }}"), "[{\"<e>\": 1}]1");
  EXPECT_EQ(input_of("{% set y %}<{{ x }}>{% endset %}{{ y | indent(1, true) }}"), " <[ab<e>cd]>");
  EXPECT_EQ(input_of("{% macro m(v) %}<{{ v | first }}>{% endmacro %}{{ m(x) * 2 }}"), "<[a]><[a]>");
}

TEST(ChatTemplate, NamesTemplateAndLine) {
  EXPECT_EQ(message_of("a\n{% if x %}\n", "{}", ErrorCode::bad_model), "t:2: the template ends before {% endif %}");
  EXPECT_EQ(message_of("\n\n{{ raise_exception('Roles must alternate') }}", "{}", ErrorCode::usage),
            "t:3: Roles must alternate");
  EXPECT_EQ(message_of("{% macro f() %}\n{{ a.b.c }}{% endmacro %}\n\n{{ f() }}", R"({"a": {}})", ErrorCode::usage),
            "t:2: 'dict object' has no attribute 'b'");
}

TEST(ChatTemplate, StopsWhatGrowsWithoutBound) {
  for (const char* source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
           "{{ 'x' * 99999999 }}",
           "{{ [0] * 99999999 }}",
           "{% set n = namespace(x='x' * 999999) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
           "{% for i in range(99) %}{{ 'x' * 999999 }}{% endfor %}",
           "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}",
           "{% set n = namespace() %}{% set n.x = [n] %}{{ n }}",
           "{{ 9223372036854775807 + 1 }}",
       }) {
    EXPECT_EQ(try_render(source, Json::object()), std::nullopt) << source;
  }
  const std::string deep = std::string(5000, '(') + "1" + std::string(5000, ')');
  EXPECT_EQ(try_render("{{ " + deep + " }}", Json::object()), std::nullopt);
  std::string chain = "1";
  for (int i = 0; i < 5000; ++i) chain += "+1";
  EXPECT_EQ(try_render("{{ " + chain + " }}", Json::object()), std::nullopt);
}

TEST(ChatTemplate, RendersTenThousandMessages) {
  Json messages = Json::array();
  for (int i = 0; i < 5000; ++i) {
    messages.push_back({{"role", "user"}, {"content", "What is " + std::to_string(i) + "?"}});
    messages.push_back({{"role", "assistant"}, {"content", std::string(200, 'a')}, {"reasoning_content", "R"}});
  }
  const auto segments = ChatTemplate::load(kRoot / "tests/fixtures/templates/nano_like.jinja")
                            .render({{"messages", messages}, {"add_generation_prompt", true}});
  EXPECT_GT(joined(segments).size(), 1'000'000u);
}

TEST(ChatTemplate, LoadsAFolderWithItsSpecialTokens) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "strata_chat_template";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  EXPECT_THROW(ChatTemplate::load(folder), Error);
  std::ofstream(folder / "tokenizer_config.json") << R"({"bos_token": {"content": "<s>"}, "pad_token": null,
             "chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "{{ bos_token }}d"}]})";
  const std::vector<TextSegment> expected = {{"<s>d", false}};
  EXPECT_EQ(ChatTemplate::load(folder).render(Json::object()), expected);
  std::ofstream(folder / "chat_template.jinja") << "{{ bos_token }}{{ pad_token is defined }}";
  EXPECT_EQ(joined(ChatTemplate::load(folder).render(Json::object())), "<s>False");
  std::filesystem::remove_all(folder);
}

TEST(TemplateContext, BringsARequestIntoTheFormOfTemplates) {
  const Json context = template_context(Json::parse(R"({
    "model": "m",
    "messages": [
      {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null,
       "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": [1]}"}}]}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "chat_template_kwargs": {"enable_thinking": false}})"));
  EXPECT_EQ(context, Json::parse(R"({
    "messages": [
      {"role": "system", "content": "a\nb"},
      {"role": "assistant", "content": null,
       "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": [1]}}}]}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "add_generation_prompt": true,
    "enable_thinking": false})"));
}

TEST(TemplateContext, NamesThePathOfWhatIsWrong) {
  EXPECT_EQ(context_error(R"({"messages": []})"), "messages: expected an array of at least one message");
  EXPECT_EQ(context_error(R"({"messages": [{"content": "a"}]})"), "messages[0].role: expected a string");
  EXPECT_EQ(context_error(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"),
            "messages[0].content[0]: a part of type \"image_url\" is not supported; only \"text\" is");
  EXPECT_TRUE(context_error(R"({"messages": [{"role": "assistant", "tool_calls":
                              [{"function": {"name": "f", "arguments": "{"}}]}]})")
                  .starts_with("messages[0].tool_calls[0].function.arguments: expected valid JSON"));
  EXPECT_EQ(context_error(R"({"messages": [{"role": "user"}], "chat_template_kwargs": {"bos_token": "x"}})"),
            "chat_template_kwargs.bos_token: can't be set here");
}

}  // namespace
}  // namespace strata
