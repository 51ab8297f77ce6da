#include "server/openai/responses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"

namespace strata {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer kTokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  return kTokenizer;
}

ResponseHead head() {
  ResponseHead out;
  out.id = "chatcmpl-1";
  out.created = 1700000000;
  out.model = "demo \"quoted\"";
  out.system_fingerprint = "fp";
  return out;
}

/// The JSON of each event of a stream; "[DONE]" becomes a string.
std::vector<Json> events_of(const std::string& stream) {
  std::vector<Json> out;
  std::size_t at = 0;
  while (at < stream.size()) {
    const auto end = stream.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << "a whole event";
    const std::string event = stream.substr(at, end - at);
    EXPECT_TRUE(event.starts_with("data: ")) << event;
    EXPECT_EQ(event.find('\n'), std::string::npos);
    const std::string data = event.substr(6);
    out.push_back(data == "[DONE]" ? Json(data) : Json::parse(data));
    at = end + 2;
  }
  return out;
}

/// What a client puts together from a stream: the object of a response that isn't streamed.
Json assembled(const std::string& stream, bool chat, const ResponseRequest& request) {
  const std::vector<Json> events = events_of(stream);
  EXPECT_EQ(events.back(), "[DONE]");
  Json out = {{"choices", Json::array()}};
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const Json& chunk = events[i];
    for (const char* key : {"id", "created", "model", "system_fingerprint"}) {
      EXPECT_TRUE(i == 0 || chunk[key] == out[key]) << "every chunk has the same " << key;
      out[key] = chunk[key];
    }
    EXPECT_EQ(chunk["object"], chat ? "chat.completion.chunk" : "text_completion");
    EXPECT_EQ(chunk.contains("usage"), request.include_usage);
    if (chunk["choices"].empty()) {
      EXPECT_TRUE(request.include_usage && i + 2 == events.size());
      out["usage"] = chunk["usage"];
      continue;
    }
    if (request.include_usage) {
      EXPECT_TRUE(chunk["usage"].is_null());
    }
    EXPECT_EQ(chunk["choices"].size(), 1U);
    const Json& part = chunk["choices"][0];
    const auto index = part["index"].get<std::size_t>();
    while (out["choices"].size() <= index) out["choices"].push_back({{"done", false}});
    Json& choice = out["choices"][index];
    EXPECT_EQ(choice["done"], false) << "nothing after the finish reason";
    choice["done"] = !part["finish_reason"].is_null();
    if (!part["finish_reason"].is_null()) {
      choice["finish_reason"] = part["finish_reason"];
      choice["stop_reason"] = part["stop_reason"];
      EXPECT_TRUE(!chat || part["delta"].empty());
      EXPECT_TRUE(chunk.contains("timings"));
    }
    const Json& logprobs = part["logprobs"];
    if (!logprobs.is_null())
      for (const auto& [key, values] : logprobs.items())
        if (values.is_array())
          for (const Json& value : values) choice["logprobs"][key].push_back(value);
    const auto add = [](Json& to, const Json& text) {
      to = (to.is_string() ? to.get<std::string>() : std::string()) + text.get<std::string>();
    };
    if (!chat) {
      add(choice["text"], part["text"]);
      continue;
    }
    const Json& delta = part["delta"];
    EXPECT_EQ(delta.contains("role"), choice["message"].is_null()) << "the role comes first and once";
    if (delta.contains("role")) choice["message"]["role"] = delta["role"];
    for (const char* key : {"content", "reasoning", "reasoning_content"})
      if (delta.contains(key)) add(choice["message"][key], delta[key]);
    if (!delta.contains("tool_calls")) continue;
    for (const Json& call : delta["tool_calls"]) {
      Json& calls = choice["message"]["tool_calls"];
      if (call.contains("id")) {
        EXPECT_EQ(call["function"]["arguments"], "");
        calls.push_back({{"id", call["id"]}, {"type", call["type"]}, {"function", call["function"]}});
      } else {
        EXPECT_FALSE(call["function"].contains("name"));
        add(calls.at(call["index"].get<std::size_t>())["function"]["arguments"], call["function"]["arguments"]);
      }
    }
  }
  return out;
}

class RandomAnswer {
 public:
  explicit RandomAnswer(unsigned seed) : random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  std::string text() {
    static const std::vector<std::string> kPieces = {
        "a", "\n", "\"", "\\", " the ", "\xC3\xA9", "\x01", "\xF0\x9F\x98\x80", "{}", "</think>", "data: ", "\r\n"};
    std::string out;
    for (int n = below(12); n > 0; --n)
      out += kPieces[static_cast<std::size_t>(below(static_cast<int>(kPieces.size())))];
    return out;
  }

  TokenLogprob logprob(int top) {
    TokenLogprob out;
    out.token = 32 + below(4000);
    out.logprob = -static_cast<float>(below(1000)) / 77;
    for (int i = 0; i < top; ++i)
      out.top.emplace_back(32 + below(4000),
                           i == 2 ? -std::numeric_limits<float>::infinity() : -0.1F * static_cast<float>(i));
    return out;
  }

  /// The events of one choice, in the order that an answer has.
  std::vector<AnswerEvent> events(bool chat, int top, bool prompt) {
    std::vector<AnswerEvent> out;
    out.emplace_back(Started{7, 3});
    if (prompt) {
      PromptTokens tokens;
      tokens.tokens.push_back(logprob(top));
      tokens.tokens[0].logprob = std::numeric_limits<float>::quiet_NaN();
      tokens.tokens.push_back(logprob(top));
      out.emplace_back(std::move(tokens));
    }
    const auto logprobs = [&](bool reasoning) {
      TokenLogprobs more;
      more.reasoning = reasoning;
      more.tokens.push_back(logprob(top));
      out.emplace_back(std::move(more));
    };
    for (int n = chat ? below(4) : 0; n > 0; --n) {
      logprobs(true);
      out.emplace_back(ReasoningDelta{"r" + text()});
    }
    for (int n = below(5); n > 0; --n) {
      logprobs(false);
      out.emplace_back(TextDelta{"c" + text()});
    }
    const int calls = chat ? below(3) : 0;
    for (int i = 0; i < calls; ++i) {
      logprobs(false);
      out.emplace_back(ToolCallBegin{i, "call_" + std::to_string(i), "now"});
      for (int n = 1 + below(3); n > 0; --n) out.emplace_back(ToolArguments{i, "x" + text()});
      out.emplace_back(ToolCallEnd{i});
    }
    Finished finished;
    finished.reason = calls > 0 ? AnswerFinish::tool_calls : below(2) == 0 ? AnswerFinish::stop : AnswerFinish::length;
    if (below(2) == 0) finished.stop_string = "END";
    finished.usage = {7, 3, 5 + below(9), below(5)};
    out.emplace_back(std::move(finished));
    return out;
  }

  /// The same answer with its texts and logprobs cut elsewhere.
  std::vector<AnswerEvent> cut(const std::vector<AnswerEvent>& events) {
    std::vector<AnswerEvent> out;
    for (const AnswerEvent& event : events) {
      const auto in_two = [&](const std::string& text, auto make) {
        const auto at = static_cast<std::size_t>(below(static_cast<int>(text.size()) + 1));
        std::size_t whole = at;  // characters stay whole
        while (whole < text.size() && (static_cast<unsigned char>(text[whole]) & 0xC0) == 0x80) ++whole;
        if (whole > 0) out.emplace_back(make(text.substr(0, whole)));
        if (whole < text.size()) out.emplace_back(make(text.substr(whole)));
      };
      if (const auto* text = std::get_if<TextDelta>(&event)) {
        in_two(text->text, [](std::string piece) { return TextDelta{std::move(piece)}; });
      } else if (const auto* reasoning = std::get_if<ReasoningDelta>(&event)) {
        in_two(reasoning->text, [](std::string piece) { return ReasoningDelta{std::move(piece)}; });
      } else if (const auto* arguments = std::get_if<ToolArguments>(&event)) {
        in_two(arguments->fragment, [&](std::string piece) {
          return ToolArguments{arguments->index, std::move(piece)};
        });
      } else {
        out.push_back(event);
      }
    }
    return out;
  }

 private:
  std::mt19937 random_;
};

TEST(ResponseTest, ConcatenatedStreamIsTheWholeResponse) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    RandomAnswer random(seed);
    const bool chat = seed % 4 != 3;
    const int choices = 1 + random.below(3);
    ResponseRequest request;
    request.n = choices;
    request.stream = true;
    request.include_usage = random.below(2) == 0;
    request.logprobs = random.below(2) == 0;
    request.force_nonempty_content = random.below(4) == 0;
    request.reasoning_field = static_cast<ReasoningField>(random.below(5));
    request.echo = !chat && random.below(2) == 0;
    std::vector<std::vector<TokenId>> prompts;
    std::vector<std::vector<AnswerEvent>> answers;
    for (int i = 0; i < choices; ++i) {
      answers.push_back(random.events(chat, 3, request.echo && request.logprobs));
      if (!request.logprobs)
        std::erase_if(answers.back(), [](const auto& e) { return std::holds_alternative<TokenLogprobs>(e); });
      prompts.push_back({40, 41});
      for (const AnswerEvent& event : answers.back())
        if (const auto* prompt = std::get_if<PromptTokens>(&event))
          prompts.back() = {prompt->tokens[0].token, prompt->tokens[1].token};
    }
    const ResponseKind kind = chat ? ResponseKind::chat : ResponseKind::completion;
    ResponseBody body(kind, head(), request, tokenizer(), choices, prompts);
    for (int i = 0; i < choices; ++i)
      for (const AnswerEvent& event : answers[static_cast<std::size_t>(i)]) body.add({i, event});
    ASSERT_TRUE(body.complete());

    ResponseStream stream(kind, head(), request, tokenizer(), choices, prompts);
    std::string sent = stream.begin();
    std::vector<std::vector<AnswerEvent>> pieces;
    for (const auto& answer : answers) pieces.push_back(random.cut(answer));
    std::vector<std::size_t> next(pieces.size());
    while (!stream.complete()) {  // choices interleave
      const auto i = static_cast<std::size_t>(random.below(choices));
      if (next[i] < pieces[i].size()) sent += stream.add({static_cast<int>(i), pieces[i][next[i]++]});
    }
    const Json got = assembled(sent, chat, request);
    Json whole = body.json();
    EXPECT_EQ(whole["object"], chat ? "chat.completion" : "text_completion");
    for (const char* key : {"id", "created", "model", "system_fingerprint"}) EXPECT_EQ(got[key], whole[key]);
    if (request.include_usage) {
      EXPECT_EQ(got["usage"], whole["usage"]);
    }
    ASSERT_EQ(got["choices"].size(), whole["choices"].size());
    for (std::size_t i = 0; i < whole["choices"].size(); ++i) {
      Json& want = whole["choices"][i];
      const Json& have = got["choices"][i];
      EXPECT_EQ(have["finish_reason"], want["finish_reason"]);
      EXPECT_EQ(have["stop_reason"], want["stop_reason"]);
      if (want["logprobs"].is_object()) {
        for (const auto& [key, values] : want["logprobs"].items()) {
          if (!values.is_array() || values.empty()) continue;
          EXPECT_EQ(have.value("logprobs", Json::object()).value(key, Json()), values) << key;
        }
      }
      if (!chat) {
        EXPECT_EQ(have["text"], want["text"]);
        continue;
      }
      Json& message = want["message"];
      if (message["content"].is_null()) message["content"] = "";
      message.erase("refusal");
      for (const char* key : {"role", "content", "reasoning", "reasoning_content", "tool_calls"})
        EXPECT_EQ(have["message"].value(key, Json()), message.value(key, Json())) << key;
    }
  }
}

ResponseRequest streamed() {
  ResponseRequest request;
  request.stream = true;
  return request;
}

TEST(ResponseTest, StreamBeginsWithTheRoleAndEndsWithDone) {
  ResponseStream stream(ResponseKind::chat, head(), streamed(), tokenizer(), 1);
  const std::vector<Json> first = events_of(stream.begin());
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0]["choices"][0]["delta"], Json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(stream.add({0, Started{3, 0}}), "");
  Finished finished;
  const std::vector<Json> last = events_of(stream.add({0, finished}));
  ASSERT_EQ(last.size(), 2U) << "no usage that nobody asked for";
  EXPECT_EQ(last[0]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(last[1], "[DONE]");
  EXPECT_TRUE(stream.complete());
  EXPECT_EQ(stream.add({0, TextDelta{"late"}}), "");
}

TEST(ResponseTest, ProgressOfThePromptIsAChunkWithoutContent) {
  for (const ResponseKind kind : {ResponseKind::chat, ResponseKind::completion}) {
    ResponseStream stream(kind, head(), streamed(), tokenizer(), 1);
    const std::vector<Json> chunks = events_of(stream.add({0, PromptProgressed{100, 20, 60, 12.5}}));
    ASSERT_EQ(chunks.size(), 1U);
    EXPECT_EQ(chunks[0]["prompt_progress"],
              Json::parse(R"({"total": 100, "cache": 20, "processed": 60, "time_ms": 12.5})"));
    const Json& choice = chunks[0]["choices"][0];
    EXPECT_EQ(kind == ResponseKind::chat ? choice["delta"] : choice["text"],
              kind == ResponseKind::chat ? Json::object() : Json(""));
    EXPECT_EQ(choice["finish_reason"], nullptr);
  }
}

TEST(ResponseTest, FailureIsAnErrorAndDone) {
  Finished failed;
  failed.reason = AnswerFinish::error;
  failed.error = "a logit is no number";
  failed.numerical_error = true;
  ResponseStream stream(ResponseKind::chat, head(), streamed(), tokenizer(), 2);
  stream.begin();
  const std::vector<Json> events = events_of(stream.add({1, failed}));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0]["error"]["code"], "numerical_error");
  EXPECT_EQ(events[1], "[DONE]");
  EXPECT_TRUE(stream.complete());

  ResponseBody body(ResponseKind::chat, head(), {}, tokenizer(), 1);
  body.add({0, failed});
  try {
    (void)body.json();
    FAIL() << "expected an ApiError";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 500);
    EXPECT_EQ(error.type(), "server_error");
  }
}

TEST(ResponseTest, CallThatWasCutOffIsTextOfAWholeResponse) {
  ResponseBody body(ResponseKind::chat, head(), {}, tokenizer(), 1);
  body.add({0, TextDelta{"Look. "}});
  body.add({0, ToolCallBegin{0, "call_0", "now"}});
  body.add({0, ToolArguments{0, "{\"a\":"}});
  Finished finished;
  finished.reason = AnswerFinish::length;
  finished.unfinished_call = 0;
  finished.unfinished_text = "<tool_call>\n<function=now>";
  finished.warnings = {"w", "w"};
  body.add({0, finished});
  const Json choice = body.json()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["message"]["content"], "Look. <tool_call>\n<function=now>");
  EXPECT_FALSE(choice["message"].contains("tool_calls"));
  EXPECT_EQ(body.warnings(), std::vector<std::string>{"w"});
}

TEST(ResponseTest, ContentIsNullBesideCallsAndEmptyWithoutThem) {
  ResponseBody calls(ResponseKind::chat, head(), {}, tokenizer(), 1),
      empty(ResponseKind::chat, head(), {}, tokenizer(), 1);
  calls.add({0, ToolCallBegin{0, "call_0", "now"}});
  calls.add({0, ToolArguments{0, "{}"}});
  calls.add({0, Finished{}});
  EXPECT_TRUE(calls.json()["choices"][0]["message"]["content"].is_null());
  empty.add({0, Finished{}});
  EXPECT_EQ(empty.json()["choices"][0]["message"]["content"], "");
}

TEST(ResponseTest, UsageCountsEachPromptOnce) {
  ResponseRequest request;
  request.n = 2;
  ResponseBody body(ResponseKind::completion, head(), request, tokenizer(), 4);
  Finished finished;
  finished.usage = {10, 4, 5, 0};
  for (int i = 0; i < 4; ++i) body.add({i, finished});
  const Json usage = body.json()["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 20);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 8);
  EXPECT_EQ(usage["completion_tokens"], 20);
  EXPECT_EQ(usage["total_tokens"], 40);
}

TEST(ResponseTest, LogprobsHaveBytesAndImpossibleOnesAFiniteValue) {
  ResponseRequest request;
  request.logprobs = true;
  ResponseBody body(ResponseKind::chat, head(), request, tokenizer(), 1);
  TokenLogprobs logprobs;
  TokenLogprob& one = logprobs.tokens.emplace_back();
  one.token = tokenizer().encode("the", {.post_process = false}).front();
  one.logprob = -0.25F;
  one.top = {{one.token, -0.25F}, {40, -std::numeric_limits<float>::infinity()}};
  body.add({0, logprobs});
  body.add({0, Finished{}});
  const Json entry = body.json()["choices"][0]["logprobs"]["content"][0];
  EXPECT_EQ(entry["token"], "the");
  EXPECT_EQ(entry["bytes"], Json::parse("[116,104,101]"));
  EXPECT_EQ(entry["logprob"], -0.25);
  EXPECT_EQ(entry["top_logprobs"][1]["logprob"], -9999.0);
}

TEST(ApiErrorTest, ExceptionsBecomeStatusesAndKeepTheServersInsides) {
  const ApiError busy = api_error_of(Error(ErrorCode::busy, "full"), "req-1");
  EXPECT_EQ(busy.status(), 429);
  EXPECT_EQ(busy.code(), "queue_full");
  EXPECT_EQ(api_error_of(Error(ErrorCode::usage, "bad"), "req-1").status(), 400);
  const ApiError inside = api_error_of(std::runtime_error("/secret/path"), "req-1");
  EXPECT_EQ(inside.status(), 500);
  EXPECT_EQ(std::string(inside.what()).find("secret"), std::string::npos);
  EXPECT_NE(std::string(inside.what()).find("req-1"), std::string::npos);
  const Json error = ApiError::invalid_json("x").body()["error"];
  EXPECT_TRUE(error["param"].is_null());
  EXPECT_EQ(error["code"], "invalid_json");
}

}  // namespace
}  // namespace strata
