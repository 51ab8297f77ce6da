// Claims about calls that come back as they were written.
#include "server/generation/call_memory.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer kTokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  return kTokenizer;
}

std::vector<TokenId> ids(const std::string& text) { return tokenizer().encode(text, {.post_process = false}); }

Json call(const std::string& id, const std::string& name, const Json& arguments) {
  return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

Json assistant(Json calls) { return {{"role", "assistant"}, {"content", ""}, {"tool_calls", std::move(calls)}}; }

const std::string kWritten = "\n<function=f>\n<parameter=list>\n[ 1,2 ,  3 ]\n</parameter>\n</function>\n";
const std::string kRendered = "\n<function=f>\n<parameter=list>\n[1, 2, 3]\n</parameter>\n</function>\n";

struct CallMemoryTest : testing::Test {
  CallMemoryTest() {
    for (const char* id : {"call_1", "call_2"}) memory.remember({id, "f", R"({"list":[1,2,3]})", ids(kWritten)});
  }

  /// The text of `prompt`'s tokens with the calls of `messages` as they were written.
  std::string replayed(const Json& messages, const std::string& prompt) {
    std::vector<TokenId> tokens = ids(prompt);
    memory.replay(messages, tokenizer(), marks, tokens, places);
    std::string text;
    for (const TokenId token : tokens) text += tokenizer().bytes(token);
    return text;
  }

  const Marks marks{tokenizer()};
  CallMemory memory;
  std::vector<std::int64_t> places;
};

TEST_F(CallMemoryTest, ACallStandsAsItWasWritten) {
  const Json same = {{"list", {1, 2, 3}}};
  const std::string before = "<|im_start|>assistant\n<tool_call>", after = "</tool_call>\n<|im_end|>\n";
  for (const Json& arguments : {Json(R"({"list": [1, 2, 3]})"), same}) {
    const Json messages = Json::array({assistant(Json::array({call("call_1", "f", arguments)}))});
    EXPECT_EQ(replayed(messages, before + kRendered + after), before + kWritten + after);
  }
}

TEST_F(CallMemoryTest, OnlyTheCallThatIsMeantChanges) {
  const Json list = {{"list", {1, 2, 3}}}, other = {{"list", {1, 2, 4}}};
  const std::string prompt = "Write <tool_call>like this</tool_call>. <tool_call>" + kRendered +
                             "</tool_call> and <tool_call>" + kRendered + "</tool_call><tool_call>" + kRendered +
                             "</tool_call><|im_end|>";
  const Json messages = Json::array({{{"role", "user"}, {"content", "x"}},
                                     assistant(Json::array({call("theirs", "f", list)})),
                                     assistant(Json::array({call("call_2", "f", list), call("call_1", "f", other)}))});
  std::string expected = prompt;
  const std::size_t second = expected.find(kRendered, expected.find(" and "));
  EXPECT_EQ(replayed(messages, prompt), expected.replace(second, kRendered.size(), kWritten));
}

TEST_F(CallMemoryTest, PlacesMoveWithWhatIsBeforeThem) {
  const std::string first = "<|im_start|>", second = "user<tool_call>", third = kRendered + "</tool_call>";
  const auto size = [](const std::string& text) { return std::ssize(ids(text)); };
  places = {0, size(first), size(first + second), size(first + second + third)};
  const std::vector<std::int64_t> before = places;
  const Json messages = Json::array({assistant(Json::array({call("call_1", "f", Json({{"list", {1, 2, 3}}}))}))});
  replayed(messages, first + second + third);
  const std::int64_t moved = size(kWritten) - size(kRendered);
  ASSERT_NE(moved, 0) << "a test that shows nothing";
  EXPECT_EQ(places, (std::vector<std::int64_t>{before[0], before[1], before[2], before[3] + moved}));
}

TEST_F(CallMemoryTest, APromptThatShowsOtherCallsStaysAsItIs) {
  const Json one = call("call_1", "f", Json({{"list", {1, 2, 3}}}));
  const std::string prompt = "<tool_call>" + kRendered + "</tool_call>";
  EXPECT_EQ(replayed(Json::array({assistant(Json::array({one, one}))}), prompt), prompt) << "one isn't shown";
  EXPECT_EQ(replayed(Json::array({assistant(Json::array({one}))}), "<tool_call>\ng\n</tool_call>"),
            "<tool_call>\ng\n</tool_call>");
  EXPECT_EQ(replayed(Json::array({{{"role", "user"}, {"content", "x"}}}), prompt), prompt);
}

TEST(CallMemory, ForgetsTheOldestFirst) {
  CallMemory memory(4000);
  const Marks marks(tokenizer());
  for (int i = 0; i < 100; ++i)
    memory.remember({"call_" + std::to_string(i), "f", R"({"list":[1,2,3]})", ids(kWritten)});
  const std::vector<TokenId> prompt = ids("<tool_call>" + kRendered + "</tool_call>");
  const auto changes = [&](int i) {
    std::vector<TokenId> tokens = prompt;
    std::vector<std::int64_t> places;
    const Json one = call("call_" + std::to_string(i), "f", Json({{"list", {1, 2, 3}}}));
    memory.replay(Json::array({assistant(Json::array({one}))}), tokenizer(), marks, tokens, places);
    return tokens != prompt;
  };
  EXPECT_TRUE(changes(99));
  EXPECT_FALSE(changes(0));
}

}  // namespace
}  // namespace strata
