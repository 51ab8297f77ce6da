#include "server/generation/answer_stream.h"

#include <gtest/gtest.h>

#include "text/utf8.h"

namespace strata {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer kTokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  return kTokenizer;
}

const Marks& marks() {
  static const Marks kMarks(tokenizer());
  return kMarks;
}

struct Answer {
  std::string reasoning, content, arguments;
  int calls = 0;
  std::vector<TokenLogprob> logprobs;
  std::vector<std::string> pieces;
  std::optional<Finished> finished;
  bool ended_early = false;
};

/// Tokens through a stream; the last one ends the answer if `reason` is stop.
Answer answer(const std::vector<TokenId>& tokens, AnswerStreamOptions options,
              AnswerFinish reason = AnswerFinish::stop) {
  Answer out;
  options.parser.new_call_id = [] { return "call_0"; };
  AnswerStream stream(tokenizer(), marks(), std::move(options), [&](const AnswerEvent& event) {
    EXPECT_FALSE(out.finished) << "an event after the last";
    if (const auto* text = std::get_if<TextDelta>(&event)) {
      EXPECT_FALSE(text->text.empty());
      EXPECT_EQ(valid_utf8_prefix(text->text), text->text.size());
      out.content += text->text;
      out.pieces.push_back(text->text);
    }
    if (const auto* reasoning = std::get_if<ReasoningDelta>(&event)) out.reasoning += reasoning->text;
    if (const auto* arguments = std::get_if<ToolArguments>(&event)) out.arguments += arguments->fragment;
    out.calls += std::holds_alternative<ToolCallEnd>(event);
    if (const auto* logprobs = std::get_if<TokenLogprobs>(&event))
      out.logprobs.insert(out.logprobs.end(), logprobs->tokens.begin(), logprobs->tokens.end());
    if (const auto* finished = std::get_if<Finished>(&event)) out.finished = *finished;
  });
  for (const TokenId token : tokens) {
    TokenEvent event;
    event.token = token;
    event.logprob = -0.5F;
    stream.push(event);
    if (stream.ended()) {
      out.ended_early = true;
      stream.finish(AnswerFinish::stop, {});
      return out;
    }
  }
  if (reason == AnswerFinish::stop) stream.count_end();
  stream.finish(reason, {});
  return out;
}

std::vector<TokenId> encode(std::string_view text) { return tokenizer().encode(text, {.post_process = false}); }

AnswerStreamOptions chat(bool thinking = false) {
  AnswerStreamOptions options;
  options.parser.thinking = thinking;
  return options;
}

/// The tokens of single bytes, which every byte-level vocabulary has.
std::vector<TokenId> byte_tokens(std::string_view bytes) {
  std::vector<TokenId> out;
  for (const char byte : bytes)
    for (TokenId t = 0; t < tokenizer().vocab_size(); ++t)
      if (!tokenizer().is_special(t) && tokenizer().bytes(t) == std::string_view(&byte, 1)) {
        out.push_back(t);
        break;
      }
  EXPECT_EQ(out.size(), bytes.size());
  return out;
}

TEST(AnswerStreamTest, PartsAndUsageAreCounted) {
  const auto tokens = encode("I know.\n</think>\nParis.");
  const Answer got = answer(tokens, chat(true));
  EXPECT_EQ(got.reasoning, "I know.");
  EXPECT_EQ(got.content, "Paris.");
  EXPECT_EQ(got.finished->reason, AnswerFinish::stop);
  EXPECT_EQ(got.finished->usage.completion_tokens, std::ssize(tokens) + 1);
  EXPECT_EQ(got.finished->usage.reasoning_tokens, std::ssize(encode("I know.\n</think>")));
}

TEST(AnswerStreamTest, CharacterInPartsLeavesAsOne) {
  const Answer got = answer(byte_tokens("\xE2\x82\xAC!"), chat());
  EXPECT_EQ(got.pieces, (std::vector<std::string>{"\xE2\x82\xAC", "!"}));
}

TEST(AnswerStreamTest, InvalidUtf8BecomesAReplacementAtTheEndAndNeverEarlier) {
  const Answer got = answer(byte_tokens("a\xE2\x82"), chat());
  EXPECT_EQ(got.pieces, (std::vector<std::string>{"a", "\xEF\xBF\xBD"}));
  const Answer broken = answer(byte_tokens("a\xE2\x82"
                                           "b"),
                               chat());
  EXPECT_EQ(broken.content,
            "a\xEF\xBF\xBD"
            "b");
  std::vector<TokenId> marked = byte_tokens("\xE2\x82");
  marked.push_back(*marks().token(Mark::think_end));
  EXPECT_EQ(answer(marked, chat(true)).reasoning, "\xEF\xBF\xBD") << "a mark doesn't complete a character";
}

TEST(AnswerStreamTest, StopStringEndsTheContentOnly) {
  AnswerStreamOptions options = chat(true);
  options.stop = {"END"};
  const Answer got = answer(encode("the END of thinking</think>one END two"), std::move(options));
  EXPECT_EQ(got.reasoning, "the END of thinking");
  EXPECT_EQ(got.content, "one ");
  EXPECT_TRUE(got.ended_early);
  EXPECT_EQ(got.finished->reason, AnswerFinish::stop);
  EXPECT_EQ(got.finished->stop_string, "END");
}

TEST(AnswerStreamTest, StopStringsWaitForTheLeastTokens) {
  AnswerStreamOptions options = chat();
  options.stop = {"a"};
  options.min_tokens = 3;
  EXPECT_EQ(answer(byte_tokens("aaaaa"), std::move(options)).content, "aa");
}

TEST(AnswerStreamTest, FirstCallEndsTheAnswerWithoutParallelCalls) {
  AnswerStreamOptions options = chat();
  options.parser.tools = std::make_shared<const ToolSet>(Json::parse(R"([{"function": {"name": "now"}}])"));
  options.parallel_tool_calls = false;
  const std::string call = "<tool_call>\n<function=now>\n</function>\n</tool_call>\n";
  const Answer got = answer(encode(call + call), options);
  EXPECT_EQ(got.calls, 1);
  EXPECT_TRUE(got.ended_early);
  EXPECT_EQ(got.finished->reason, AnswerFinish::tool_calls);
  options.parallel_tool_calls = true;
  EXPECT_EQ(answer(encode(call + call), options).calls, 2);
}

TEST(AnswerStreamTest, LengthWithinACallIsLength) {
  AnswerStreamOptions options = chat();
  options.parser.tools = std::make_shared<const ToolSet>(Json::parse(R"([{"function": {"name": "now"}}])"));
  const std::string text = "<tool_call>\n<function=now>\n<parameter=zone>\nUT";
  const Answer got = answer(encode(text), std::move(options), AnswerFinish::length);
  EXPECT_EQ(got.calls, 0);
  EXPECT_EQ(got.finished->reason, AnswerFinish::length);
  EXPECT_EQ(got.finished->unfinished_text, text);
  EXPECT_EQ(got.finished->unfinished_call, 0);
}

TEST(AnswerStreamTest, ThinkingThatTookAllTokensIsWarnedOf) {
  const Answer got = answer(encode("I wonder"), chat(true), AnswerFinish::length);
  EXPECT_EQ(got.finished->warnings, std::vector<std::string>{"no_content_within_max_tokens"});
  EXPECT_TRUE(answer(encode("Paris"), chat(), AnswerFinish::length).finished->warnings.empty());
}

TEST(AnswerStreamTest, EveryTokenButTheLastHasALogprob) {
  AnswerStreamOptions options = chat(true);
  options.logprobs = true;
  const auto tokens = encode("I know.\n</think>\nParis.");
  const Answer got = answer(tokens, std::move(options));
  ASSERT_EQ(got.logprobs.size(), tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(got.logprobs[i].token, tokens[i]);
}

TEST(AnswerStreamTest, ContinuedTextKeepsItsMarks) {
  AnswerStreamOptions options;
  options.chat = false;
  const std::string text = " \n<think>a</think><tool_call>";
  EXPECT_EQ(answer(encode(text), std::move(options)).content, text);
}

}  // namespace
}  // namespace strata
