#include "server/generation/answer_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace strata {
namespace {

const Json kTools = Json::parse(R"json([
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}, "factor": {"type": "number"}, "metric": {"type": "boolean"},
    "note": {"type": ["string", "null"]}, "tags": {"type": "array"}, "options": {"type": "object"},
    "level": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "kind": {"enum": ["a", "b"]}}}}},
  {"type": "function", "function": {"name": "write_file", "parameters": {"type": "object", "properties": {
    "path": {"type": "string"}, "content": {"type": "string"}}}}},
  {"type": "function", "function": {"name": "now"}}
])json");

struct Call {
  std::string name, arguments;
  bool ended = false;
  friend bool operator==(const Call&, const Call&) = default;
};

struct Parsed {
  std::string reasoning, content;
  std::vector<Call> calls;
  std::string unfinished;
  std::vector<std::string> warnings;
  friend bool operator==(const Parsed&, const Parsed&) = default;
};

void PrintTo(const Parsed& parsed, std::ostream* out) {
  *out << "reasoning " << Json(parsed.reasoning) << ", content " << Json(parsed.content);
  for (const Call& call : parsed.calls)
    *out << ", call " << call.name << Json(call.arguments) << (call.ended ? "" : " (open)");
  *out << ", unfinished " << Json(parsed.unfinished) << ", warnings " << Json(parsed.warnings);
}

using Piece = std::variant<std::string, Mark>;

/// The pieces of an answer in which marks are written as they look.
std::vector<Piece> pieces_of(std::string_view text) {
  std::vector<Piece> pieces;
  while (!text.empty()) {
    std::size_t at = text.size();
    std::optional<Mark> mark;
    for (const Mark m : {Mark::think_begin, Mark::think_end, Mark::call_begin, Mark::call_end}) {
      if (const auto found = text.find(name_of(m)); found < at) {
        at = found;
        mark = m;
      }
    }
    if (at > 0) pieces.emplace_back(std::string(text.substr(0, at)));
    if (mark) pieces.emplace_back(*mark);
    text.remove_prefix(at + (mark ? name_of(*mark).size() : 0));
  }
  return pieces;
}

struct Case {
  bool thinking = false, tools = true, complete = true;
};

Parsed parse(const std::vector<Piece>& pieces, const Case& how) {
  AnswerParserOptions options;
  options.thinking = how.thinking;
  if (how.tools) options.tools = std::make_shared<const ToolSet>(kTools);
  options.new_call_id = [] { return "call_0"; };
  Parsed parsed;
  AnswerParser parser(std::move(options), [&](const AnswerEvent& event) {
    if (const auto* reasoning = std::get_if<ReasoningDelta>(&event)) {
      EXPECT_TRUE(parsed.content.empty() && parsed.calls.empty()) << "thinking after the answer has begun";
      parsed.reasoning += reasoning->text;
    } else if (const auto* text = std::get_if<TextDelta>(&event)) {
      parsed.content += text->text;
    } else if (const auto* begin = std::get_if<ToolCallBegin>(&event)) {
      EXPECT_EQ(begin->index, std::ssize(parsed.calls));
      parsed.calls.push_back({begin->name, ""});
    } else if (const auto* arguments = std::get_if<ToolArguments>(&event)) {
      EXPECT_FALSE(parsed.calls.back().ended);
      parsed.calls.back().arguments += arguments->fragment;
    } else if (std::holds_alternative<ToolCallEnd>(event)) {
      parsed.calls.back().ended = true;
    }
  });
  for (const Piece& piece : pieces) std::visit([&](const auto& p) { parser.push(p); }, piece);
  parser.finish(how.complete);
  parsed.unfinished = parser.unfinished_text();
  parsed.warnings = parser.warnings();
  return parsed;
}

/// The pieces with their text cut after every `size` bytes, the first after `first`.
std::vector<Piece> cut(const std::vector<Piece>& pieces, std::size_t first, std::size_t size) {
  std::vector<Piece> out;
  std::size_t left = first;
  for (const Piece& piece : pieces) {
    if (std::holds_alternative<Mark>(piece)) {
      out.push_back(piece);
      continue;
    }
    std::string_view text = std::get<std::string>(piece);
    while (!text.empty()) {
      const std::size_t n = std::min(left, text.size());
      out.emplace_back(std::string(text.substr(0, n)));
      text.remove_prefix(n);
      left -= n;
      if (left == 0) left = size;
    }
  }
  return out;
}

/// Whole, byte by byte, and cut in two at every byte.
Parsed parse_all_ways(const std::string& text, const Case& how = {}) {
  const std::vector<Piece> pieces = pieces_of(text);
  const Parsed whole = parse(pieces, how);
  for (const std::size_t size : {1, 2, 3, 5})
    EXPECT_EQ(parse(cut(pieces, size, size), how), whole) << "in pieces of " << size;
  for (std::size_t at = 1; at < text.size() && text.size() < 4096; ++at)
    EXPECT_EQ(parse(cut(pieces, at, text.size()), how), whole) << "cut at byte " << at;
  for (const Call& call : whole.calls) EXPECT_TRUE(!call.ended || Json::accept(call.arguments)) << call.arguments;
  return whole;
}

std::string call(const std::string& inner) { return "<tool_call>\n" + inner + "\n</tool_call>"; }
std::string parameter(const std::string& key, const std::string& value) {
  return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
}
std::string function(const std::string& name, const std::string& parameters) {
  return "<function=" + name + ">\n" + parameters + "</function>";
}
std::string weather(const std::string& parameters) { return call(function("get_weather", parameters)); }

/// The arguments of the only call of an answer.
std::string arguments_of(const std::string& text) {
  const Parsed parsed = parse_all_ways(text);
  EXPECT_EQ(parsed.calls.size(), 1U) << text;
  EXPECT_EQ(parsed.content, "") << text;
  if (parsed.calls.size() != 1) return {};
  EXPECT_TRUE(parsed.calls[0].ended);
  return parsed.calls[0].arguments;
}

TEST(AnswerParserTest, PlainTextIsContent) {
  EXPECT_EQ(parse_all_ways("Paris.\n"), (Parsed{"", "Paris.\n", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("Paris.\n", {.tools = false}), (Parsed{"", "Paris.\n", {}, "", {}}));
  EXPECT_EQ(parse_all_ways(""), (Parsed{}));
}

TEST(AnswerParserTest, ThinkingAndContentAreSplitAndTheirBlanksDropped) {
  EXPECT_EQ(parse_all_ways("I know. \n</think>\n\nParis.", {.thinking = true}),
            (Parsed{"I know.", "Paris.", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("<think>\nI know.\n</think>Paris.", {.thinking = true}),
            (Parsed{"I know.", "Paris.", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("a</think>b</think> c", {.thinking = true}), (Parsed{"a", "b c", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("</think>b", {.thinking = true}), (Parsed{"", "b", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("line\n\n line\n", {.thinking = true}).reasoning, "line\n\n line");
  EXPECT_EQ(parse_all_ways("\r\n\t\r\nline", {.thinking = true}).reasoning, "\t\r\nline");
}

TEST(AnswerParserTest, ThinkingThatIsCutOffStaysThinking) {
  EXPECT_EQ(parse_all_ways("I wonder", {.thinking = true, .complete = false}), (Parsed{"I wonder", "", {}, "", {}}));
}

TEST(AnswerParserTest, WithoutThinkingNothingIsThinking) {
  EXPECT_EQ(parse_all_ways("Paris.", {.thinking = false}), (Parsed{"", "Paris.", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("<think>a</think>b"), (Parsed{"a", "b", {}, "", {}})) << "unless the model says so";
}

TEST(AnswerParserTest, CallsArriveWithNameAndArguments) {
  const std::string text = "Let me look.\n" + weather(parameter("city", "Paris") + parameter("days", "3")) + "\n";
  EXPECT_EQ(parse_all_ways(text),
            (Parsed{"", "Let me look.", {{"get_weather", R"({"city":"Paris","days":3})", true}}, "", {}}));
}

TEST(AnswerParserTest, TwoCallsAreTwo) {
  const std::string text = weather(parameter("city", "Paris")) + "\n" + call(function("now", "")) + "\n";
  EXPECT_EQ(parse_all_ways(text),
            (Parsed{"", "", {{"get_weather", R"({"city":"Paris"})", true}, {"now", "{}", true}}, "", {}}));
  const std::string one = call(function("now", "") + "\n" + function("now", ""));
  EXPECT_EQ(parse_all_ways(one).calls.size(), 2U) << "in one <tool_call>";
}

TEST(AnswerParserTest, TextAfterACallIsContent) {
  const std::string text = "Before.\n" + call(function("now", "")) + "\n\nAfter.";
  EXPECT_EQ(parse_all_ways(text), (Parsed{"", "Before.\n\nAfter.", {{"now", "{}", true}}, "", {}}));
}

TEST(AnswerParserTest, CallWhoseThinkEndIsMissingIsACall) {
  const Parsed parsed = parse_all_ways("Look it up.\n" + call(function("now", "")) + "\n", {.thinking = true});
  EXPECT_EQ(parsed, (Parsed{"Look it up.", "", {{"now", "{}", true}}, "", {}}));
  const std::string two = "Look.\n" + call(function("now", "")) + "\n" + call(function("now", ""));
  EXPECT_EQ(parse_all_ways(two, {.thinking = true}).calls.size(), 2U);
}

TEST(AnswerParserTest, CallInsideThinkingIsThinkingAndTheRealOneFollows) {
  const std::string thought = call(function("now", ""));
  const std::string text = "I could write " + thought + " here.\n</think>\n" + weather(parameter("city", "Rome"));
  EXPECT_EQ(parse_all_ways(text, {.thinking = true}),
            (Parsed{"I could write " + thought + " here.", "", {{"get_weather", R"({"city":"Rome"})", true}}, "", {}}));
  EXPECT_EQ(parse_all_ways(thought + "\n</think>Yes.", {.thinking = true}), (Parsed{thought, "Yes.", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("<tool_call> is a mark</think>Yes.", {.thinking = true}),
            (Parsed{"<tool_call> is a mark", "Yes.", {}, "", {}}));
  EXPECT_EQ(parse_all_ways("<tool_call> is", {.thinking = true, .complete = false}).reasoning, "<tool_call> is");
}

TEST(AnswerParserTest, WithoutToolsMarksOfCallsAreText) {
  const std::string text = weather(parameter("city", "Rome"));
  EXPECT_EQ(parse_all_ways(text, {.tools = false}), (Parsed{"", text, {}, "", {}}));
  EXPECT_EQ(parse_all_ways(text + "</think>a", {.thinking = true, .tools = false}), (Parsed{text, "a", {}, "", {}}));
}

TEST(AnswerParserTest, ValueMayHoldTags) {
  const std::string xml = "<a>\n</parameter>\nmore </parameter> <function=x> </function> and\n<parameter=b>";
  EXPECT_EQ(arguments_of(call(function("write_file", parameter("content", xml)))), Json({{"content", xml}}).dump());
  EXPECT_EQ(arguments_of(call(function("write_file", parameter("content", "say <think></think> and <tool_call> too")))),
            Json({{"content", "say <think></think> and <tool_call> too"}}).dump());
}

TEST(AnswerParserTest, FunctionInProseIsText) {
  for (const char* text : {"Write <function=now> to call.", "Use\n<function=unknown>\nfor it.", "a\n<function", "a\n<"})
    EXPECT_EQ(parse_all_ways(text), (Parsed{"", text, {}, "", {}}));
}

TEST(AnswerParserTest, StringsKeepTheirBlanks) {
  for (const char* value : {"  indented", "\n\nblank lines\n\n", "trailing\n", " ", "\ttab\t", "a\r\nb", "", "null",
                            "null\n", "3", "quote \" and \\ and \x01", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"}) {
    EXPECT_EQ(arguments_of(call(function("write_file", parameter("content", value)))),
              Json({{"content", value}}).dump());
  }
  EXPECT_EQ(arguments_of("<tool_call>\r\n<function=write_file>\r\n<parameter=content>\r\na\r\nb\r\n</parameter>\r\n"
                         "</function>\r\n</tool_call>"),
            R"({"content":"a\r\nb"})");
}

TEST(AnswerParserTest, EmptyAndInlineValues) {
  EXPECT_EQ(arguments_of(call("<function=write_file>\n<parameter=content>\n</parameter>\n</function>")),
            R"({"content":""})");
  EXPECT_EQ(arguments_of(call("<function=write_file>\n<parameter=content></parameter>\n</function>")),
            R"({"content":""})");
  EXPECT_EQ(arguments_of(call("<function=write_file><parameter=path>a.txt</parameter><parameter=content>b\n</parameter>"
                              "</function>")),
            R"({"path":"a.txt","content":"b"})");
}

TEST(AnswerParserTest, ValuesAreDecodedByTheirType) {
  const auto one = [](const std::string& key, const std::string& value) {
    return arguments_of(weather(parameter(key, value)));
  };
  EXPECT_EQ(one("metric", "True"), R"({"metric":true})");
  EXPECT_EQ(one("metric", "0"), R"({"metric":false})");
  EXPECT_EQ(one("metric", "maybe"), R"({"metric":"maybe"})");
  EXPECT_EQ(one("days", "5.0"), R"({"days":5})");
  EXPECT_EQ(one("days", "-007"), R"({"days":-7})");
  EXPECT_EQ(one("days", "12345678901234567890123"), R"({"days":12345678901234567890123})");
  EXPECT_EQ(one("days", "five"), R"({"days":"five"})");
  EXPECT_EQ(one("days", "5.5"), R"({"days":"5.5"})");
  EXPECT_EQ(one("factor", "2.0"), R"({"factor":2.0})");
  EXPECT_EQ(one("factor", "1e-3"), R"({"factor":1e-3})");
  EXPECT_EQ(one("factor", "NaN"), R"({"factor":"NaN"})");
  EXPECT_EQ(one("note", "None"), R"({"note":null})");
  EXPECT_EQ(one("note", "nothing at all"), R"({"note":"nothing at all"})");
  EXPECT_EQ(one("level", "null"), R"({"level":null})");
  EXPECT_EQ(one("level", "3"), R"({"level":3})");
  EXPECT_EQ(one("tags", "['a', \"b\", True, None, 1.5,]"), R"({"tags":["a","b",true,null,1.5]})");
  EXPECT_EQ(one("tags", "[1, 2"), R"({"tags":"[1, 2"})");
  EXPECT_EQ(one("options", "{\"a\": {\"b\": [1]}}"), R"({"options":{"a":{"b":[1]}}})");
  EXPECT_EQ(one("options", "{'a': 'it\\'s'}"), R"({"options":{"a":"it's"}})");
  EXPECT_EQ(one("kind", "a"), R"({"kind":"a"})");
  EXPECT_EQ(one("undeclared", "{\"a\": 1}"), R"({"undeclared":"{\"a\": 1}"})");
}

TEST(AnswerParserTest, UndeclaredFunctionIsContentWithAWarning) {
  const std::string text = call(function("rm", parameter("path", "/")));
  EXPECT_EQ(parse_all_ways("So:\n" + text + "\nDone."),
            (Parsed{"", "So:\n" + text + "\nDone.", {}, "", {"unknown_tool"}}));
  EXPECT_EQ(parse_all_ways(call("no function")).content, call("no function"));
}

TEST(AnswerParserTest, MissingClosersAreTolerated) {
  const std::string expected = R"({"city":"Paris","days":3})";
  const std::string head = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis";
  EXPECT_EQ(arguments_of(head + "\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"), expected);
  EXPECT_EQ(arguments_of(head + "\n</parameter>\n<parameter=days>\n3\n</function>\n</tool_call>"), expected);
  EXPECT_EQ(arguments_of(head + "\n</parameter>\n<parameter=days>\n3\n</parameter>\n</tool_call>"), expected);
  EXPECT_EQ(arguments_of(head + "\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n"), expected);
  EXPECT_EQ(arguments_of(head + "\n</parameter>\n<parameter=days>\n3"), expected) << "all of them, at the end";
  EXPECT_EQ(arguments_of("<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n"
                         "</parameter>\n</function>\n</tool_call>"),
            expected)
      << "no <tool_call>";
  EXPECT_EQ(arguments_of(head + "</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"), expected)
      << "a closer at the end of a line";
}

TEST(AnswerParserTest, CallWithoutCloserEndsWhereTheNextBegins) {
  const std::string open = "<tool_call>\n<function=now>\n";
  EXPECT_EQ(parse_all_ways(open + call(function("now", ""))).calls.size(), 2U);
  EXPECT_EQ(
      parse_all_ways("<tool_call>\n<function=get_weather>\n" + parameter("city", "Rome") + call(function("now", "")))
          .calls.size(),
      2U);
}

TEST(AnswerParserTest, StrayClosersAndProseInACallAreSkipped) {
  const std::string text =
      "<tool_call>\nI call\n<function=now>\nwell\n</parameter>\n</function>\n</function>\nso\n</tool_call>\n"
      "</tool_call>";
  const Parsed parsed = parse_all_ways(text);
  EXPECT_EQ(parsed.calls, (std::vector<Call>{{"now", "{}", true}}));
  EXPECT_EQ(parsed.content, "");
  EXPECT_EQ(parsed.warnings, std::vector<std::string>{"malformed_tool_call"});
}

TEST(AnswerParserTest, ParameterGivenTwiceCountsOnce) {
  const std::string text = weather(parameter("days", "1") + parameter("days", "2") + parameter("city", "Rome"));
  const Parsed parsed = parse_all_ways(text);
  EXPECT_EQ(parsed.calls, (std::vector<Call>{{"get_weather", R"({"days":1,"city":"Rome"})", true}}));
  EXPECT_EQ(parsed.warnings, std::vector<std::string>{"duplicate_parameter"});
}

TEST(AnswerParserTest, CallThatIsCutOffStaysOpenAndIsKeptAsText) {
  const std::string text = "<tool_call>\n<function=write_file>\n<parameter=content>\nfirst line\nsec";
  const Parsed parsed = parse_all_ways("So.\n" + text, {.complete = false});
  EXPECT_EQ(parsed, (Parsed{"", "So.", {{"write_file", R"({"content":"first line\nsec)", false}}, text, {}}));
  const Parsed head = parse_all_ways("<tool_call>\n<func", {.complete = false});
  EXPECT_EQ(head.content, "<tool_call>\n<func");
  EXPECT_TRUE(head.calls.empty());
}

TEST(AnswerParserTest, LongStringsAreStreamed) {
  std::string value;
  for (int line = 0; value.size() < 200000; ++line) value += "line " + std::to_string(line) + " </parameter> \"x\"\n";
  const std::string text = call(function("write_file", parameter("content", value)));
  EXPECT_EQ(arguments_of(text), Json({{"content", value}}).dump());

  AnswerParserOptions options;
  options.tools = std::make_shared<const ToolSet>(kTools);
  options.new_call_id = [] { return "call_0"; };
  std::size_t sent = 0, given = 0, behind = 0;
  AnswerParser parser(std::move(options), [&](const AnswerEvent& event) {
    if (const auto* arguments = std::get_if<ToolArguments>(&event)) sent += arguments->fragment.size();
  });
  for (const Piece& piece : cut(pieces_of(text), 7, 7)) {
    std::visit([&](const auto& p) { parser.push(p); }, piece);
    given += 7;
    if (given < value.size()) behind = std::max(behind, given > sent ? given - sent : 0);
  }
  EXPECT_LT(behind, 200U) << "bytes held back";
}

}  // namespace
}  // namespace strata
