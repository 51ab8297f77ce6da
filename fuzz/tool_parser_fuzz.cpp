// An answer of any text and marks gives the same events however it is cut; calls that have ended have JSON arguments.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "server/generation/answer_parser.h"
#include "text/utf8.h"

namespace {

using namespace strata;

const std::shared_ptr<const ToolSet>& tools() {
  static const auto kTools = std::make_shared<const ToolSet>(Json::parse(R"([{"function": {"name": "f", "parameters":
    {"properties": {"s": {"type": "string"}, "i": {"type": "integer"}, "o": {"type": "object"}, "n": {"type":
    ["string", "null"]}, "b": {"type": "boolean"}}}}}, {"function": {"name": "g"}}])"));
  return kTools;
}

struct Result {
  std::string reasoning, content, unfinished;
  std::vector<std::string> arguments;
  std::vector<bool> ended;
  bool operator==(const Result&) const = default;
};

/// Bytes 1 to 4 are the marks; all others are text, given in pieces of `piece` bytes.
Result parse(std::string_view text, std::size_t piece, bool thinking, bool complete) {
  Result result;
  AnswerParserOptions options;
  options.thinking = thinking;
  options.tools = tools();
  options.new_call_id = [] { return std::string("call"); };
  AnswerParser parser(options, [&](const AnswerEvent& event) {
    if (const auto* x = std::get_if<ReasoningDelta>(&event)) result.reasoning += x->text;
    if (const auto* x = std::get_if<TextDelta>(&event)) result.content += x->text;
    if (std::holds_alternative<ToolCallBegin>(event)) {
      result.arguments.emplace_back();
      result.ended.push_back(false);
    }
    if (const auto* x = std::get_if<ToolArguments>(&event)) result.arguments.back() += x->fragment;
    if (std::holds_alternative<ToolCallEnd>(event)) result.ended.back() = true;
  });
  while (!text.empty()) {
    if (text[0] >= 1 && text[0] <= 4) {
      parser.push(static_cast<Mark>(text[0] - 1));
      text.remove_prefix(1);
      continue;
    }
    const std::size_t end = std::min({text.find_first_of("\x01\x02\x03\x04"), text.size(), piece});
    parser.push(text.substr(0, end));
    text.remove_prefix(end);
  }
  parser.finish(complete);
  result.unfinished = parser.unfinished_text();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool thinking = (data[0] & 1) != 0, complete = (data[0] & 2) != 0;
  // Whole characters only reach the parser, as TextStream sees to.
  const std::string text = replace_invalid_utf8({reinterpret_cast<const char*>(data) + 1, size - 1});
  const Result whole = parse(text, text.size() + 1, thinking, complete);
  for (const std::size_t piece : {1, 3})
    CHECK(parse(text, piece, thinking, complete) == whole, "the cut doesn't matter");
  for (std::size_t i = 0; i < whole.arguments.size(); ++i)
    CHECK(!whole.ended[i] || Json::accept(whole.arguments[i]), "the arguments of a finished call are JSON");
  return 0;
}
