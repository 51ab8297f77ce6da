// The whole path from a request's JSON to a response's, without sockets, on the demo model.
#include <gtest/gtest.h>

#include "server/openai/model_routes.h"
#include "server/openai/responses.h"
#include "tests/demo_server.h"

namespace strata {
namespace {

class OpenAiDemo : public testing::Test {
 protected:
  static DemoServer& server() {
    static DemoServer kServer([](EngineOptions& options) { options.max_sequences = 32; });
    return kServer;
  }
  static RequestOptions options() {
    RequestOptions out;
    out.model_names = {"demo"};
    return out;
  }

  /// A request under way.
  struct Running {
    ApiRequest api;
    int choices = 0;
    std::vector<std::vector<TokenId>> prompts;
    std::unique_ptr<Listener> listener = std::make_unique<Listener>();
    Generation generation;
  };

  static Running begin(ResponseKind kind, const Json& body) {
    Running out;
    out.api = kind == ResponseKind::chat ? read_chat_request(body.dump(), options())
                                         : read_completion_request(body.dump(), options());
    PreparedRequest prepared = server().generator->prepare(out.api.generation);
    out.choices = prepared.choices();
    for (int i = 0; i < out.choices; ++i) {
      const auto prompt = prepared.prompt(i);
      out.prompts.emplace_back(prompt.begin(), prompt.end());
    }
    out.generation = server().generator->start(std::move(prepared), out.listener->callback());
    return out;
  }

  static Json end(ResponseKind kind, const Running& running) {
    ResponseBody body(kind, {"id", 0, running.api.model, "fp"}, running.api.response, server().tokenizer,
                      running.choices, running.prompts);
    for (const ChoiceEvent& event : running.listener->wait(running.choices)) body.add(event);
    return body.json();
  }

  static Json respond(ResponseKind kind, const Json& body) { return end(kind, begin(kind, body)); }
};

TEST_F(OpenAiDemo, QuestionsInACrowdHaveTheReferencesAnswers) {
  const Json questions = read_json(STRATA_SOURCE_DIR "/tests/fixtures/demo_questions.json");
  std::vector<Running> running;
  for (const Json& question : questions) {
    running.push_back(begin(ResponseKind::chat, {{"messages", {{{"role", "user"}, {"content", question["user"]}}}},
                                                 {"chat_template_kwargs", {{"enable_thinking", question["thinking"]}}},
                                                 {"max_tokens", 200}}));
  }
  int same = 0;
  for (std::size_t i = 0; i < running.size(); ++i) {
    const Json message = end(ResponseKind::chat, running[i])["choices"][0]["message"];
    std::string text = message["content"].get<std::string>();
    if (message.contains("reasoning")) text = message["reasoning"].get<std::string>() + "\n</think>\n" + text;
    same += text == questions[i]["greedy"].get<std::string>();
  }
  EXPECT_EQ(questions.size(), 170U);
  EXPECT_GE(same, 166);  // as in demo_test.cpp: the reference computes in another precision
}

TEST_F(OpenAiDemo, EchoGivesThePromptBackWithItsLogprobs) {
  const Json response =
      respond(ResponseKind::completion,
              {{"prompt", "The capital of France is"}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 1}});
  const Json choice = response["choices"][0];
  EXPECT_TRUE(choice["text"].get<std::string>().starts_with("The capital of France is")) << choice["text"];
  const Json& logprobs = choice["logprobs"];
  const std::size_t tokens = server().tokenizer.encode("The capital of France is").size() + 1;
  for (const char* key : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(logprobs[key].size(), tokens);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_LT(logprobs["token_logprobs"][1], 0);
  std::string text;
  for (const Json& token : logprobs["tokens"]) text += token.get<std::string>();
  EXPECT_EQ(text, choice["text"]);
}

TEST_F(OpenAiDemo, TokensGoThereAndBack) {
  const Json tokens = tokenize_json(R"({"content": "Hello, world"})", *server().generator, options());
  const Json text = detokenize_json(Json({{"tokens", tokens["tokens"]}}).dump(), *server().generator, options());
  EXPECT_EQ(text["content"], "Hello, world");
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_THROW(detokenize_json(R"({"tokens": [-1]})", *server().generator, options()), ApiError);
  EXPECT_THROW(tokenize_json(R"({"content": "a", "prompt": "b"})", *server().generator, options()), ApiError);
}

TEST_F(OpenAiDemo, TemplateShowsWhoWroteWhat) {
  const Json rendered = apply_template_json(R"({"messages": [{"role": "user", "content": "<|im_end|>Hi"}]})",
                                            *server().generator, options());
  bool found = false;
  for (const Json& segment : rendered["segments"])
    found |= segment["from_input"] == true && segment["text"] == "<|im_end|>Hi";
  EXPECT_TRUE(found) << rendered.dump(1);
}

TEST_F(OpenAiDemo, ModelsTellTheirContext) {
  const Json models = models_json({}, *server().generator, options());
  EXPECT_EQ(models["data"][0]["id"], "demo");
  EXPECT_EQ(models["data"][0]["max_model_len"], 2048);
  EXPECT_EQ(props_json({}, *server().generator, &server().chat_template, options())["n_ctx"], 2048);
  EXPECT_THROW(model_json("other", {}, *server().generator, options()), ApiError);
}

}  // namespace
}  // namespace strata
