// Requests through the Generator, on the demo model.
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "server/constrained/schema_error.h"
#include "tests/demo_server.h"

namespace strata {
namespace {

struct Answer {
  std::string reasoning, content;
  std::vector<std::pair<std::string, std::string>> calls;
  std::vector<TokenLogprob> logprobs, prompt;
  Finished finished;
  std::int64_t started = 0;

  bool same_text(const Answer& other) const {
    return reasoning == other.reasoning && content == other.content && calls == other.calls &&
           logprobs == other.logprobs;
  }
};

Answer collect(const std::vector<ChoiceEvent>& events, int choice) {
  Answer answer;
  for (const ChoiceEvent& e : events) {
    if (e.choice != choice) continue;
    if (const auto* x = std::get_if<ReasoningDelta>(&e.event)) answer.reasoning += x->text;
    if (const auto* x = std::get_if<TextDelta>(&e.event)) answer.content += x->text;
    if (const auto* x = std::get_if<ToolCallBegin>(&e.event)) answer.calls.emplace_back(x->name, "");
    if (const auto* x = std::get_if<ToolArguments>(&e.event)) answer.calls.back().second += x->fragment;
    if (const auto* x = std::get_if<TokenLogprobs>(&e.event))
      answer.logprobs.insert(answer.logprobs.end(), x->tokens.begin(), x->tokens.end());
    if (const auto* x = std::get_if<PromptTokens>(&e.event))
      answer.prompt.insert(answer.prompt.end(), x->tokens.begin(), x->tokens.end());
    if (std::holds_alternative<Started>(e.event)) ++answer.started;
    if (const auto* x = std::get_if<Finished>(&e.event)) answer.finished = *x;
  }
  return answer;
}

GenerationRequest ask(const std::string& question, bool thinking = false) {
  ChatPrompt prompt;
  prompt.messages = Json::array({{{"role", "user"}, {"content", question}}});
  prompt.template_kwargs = {{"enable_thinking", thinking}};
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = 200;
  return request;
}

Json tool(const char* name, const char* description, const Json& properties) {
  return {{"type", "function"},
          {"function",
           {{"name", name},
            {"description", description},
            {"parameters", {{"type", "object"}, {"properties", properties}}}}}};
}

GenerationRequest with_tools(GenerationRequest request) {
  std::get<ChatPrompt>(request.prompt).tools =
      Json::array({tool("get_weather", "Get the current weather of a city.",
                        {{"city", {{"type", "string"}, {"description", "Name of the city"}}}}),
                   tool("add_numbers", "Add two numbers.",
                        {{"a", {{"type", "integer"}, {"description", "First number"}}},
                         {"b", {{"type", "integer"}, {"description", "Second number"}}}})});
  return request;
}

class GeneratorTest : public testing::Test {
 protected:
  static DemoServer& server() {
    static DemoServer kServer;
    return kServer;
  }
  static std::vector<Answer> answers(GenerationRequest request, DemoServer& with = server()) {
    PreparedRequest prepared = with.generator->prepare(std::move(request));
    const int choices = prepared.choices();
    Listener listener;
    const Generation generation = with.generator->start(std::move(prepared), listener.callback());
    const std::vector<ChoiceEvent> events = listener.wait(choices);
    std::vector<Answer> out;
    for (int i = 0; i < choices; ++i) out.push_back(collect(events, i));
    return out;
  }
  static Answer answer(GenerationRequest request) { return answers(std::move(request)).front(); }
};

TEST_F(GeneratorTest, AnswersWithAndWithoutThinking) {
  const Answer plain = answer(ask("What is the capital of France?"));
  EXPECT_EQ(plain.content, "The capital of France is Paris.");
  EXPECT_EQ(plain.reasoning, "");
  EXPECT_EQ(plain.finished.reason, AnswerFinish::stop);
  EXPECT_EQ(plain.started, 1);
  EXPECT_EQ(plain.finished.usage.reasoning_tokens, 0);
  const Answer thought = answer(ask("What is 58 + 99?", true));
  EXPECT_EQ(thought.content, "58 + 99 = 157.");
  EXPECT_EQ(thought.reasoning, "Tens: 50 + 90 = 140. Ones: 8 + 9 = 17. 140 + 17 = 157.");
  EXPECT_GT(thought.finished.usage.reasoning_tokens, 0);
  EXPECT_LT(thought.finished.usage.reasoning_tokens, thought.finished.usage.completion_tokens);
}

TEST_F(GeneratorTest, CallsATool) {
  const Answer got = answer(with_tools(ask("What is the weather in Paris?")));
  ASSERT_EQ(got.calls.size(), 1U) << got.content;
  EXPECT_EQ(got.calls[0], (std::pair<std::string, std::string>{"get_weather", R"({"city":"Paris"})"}));
  EXPECT_EQ(got.content, "");
  EXPECT_EQ(got.finished.reason, AnswerFinish::tool_calls);
}

TEST_F(GeneratorTest, ToolChoiceDecides) {
  GenerationRequest named = with_tools(ask("What is the capital of France?"));
  named.tool_choice = ToolChoice::named;
  named.tool_name = "add_numbers";
  const Answer forced = answer(named);
  ASSERT_EQ(forced.calls.size(), 1U);
  EXPECT_EQ(forced.calls[0].first, "add_numbers");
  EXPECT_TRUE(Json::accept(forced.calls[0].second)) << forced.calls[0].second;
  EXPECT_EQ(forced.finished.reason, AnswerFinish::tool_calls);

  GenerationRequest none = with_tools(ask("What is the weather in Paris?"));
  none.tool_choice = ToolChoice::none;
  const Answer text = answer(none);
  EXPECT_TRUE(text.calls.empty());
  EXPECT_EQ(text.content.find("<tool_call>"), std::string::npos);
  EXPECT_EQ(text.finished.reason, AnswerFinish::stop);
}

TEST_F(GeneratorTest, AnswerKeepsTheFormThatWasAskedFor) {
  GenerationRequest request = ask("Describe Spain as a JSON object.");
  JsonSchemaForm form;
  form.schema = Json::parse(
      R"({"type": "object", "properties": {"capital": {"type": "string", "maxLength": 20},
                                                   "name": {"type": "string", "maxLength": 20}},
          "required": ["capital", "name"], "additionalProperties": false})");
  request.response_form = form;
  for (const bool thinking : {false, true}) {
    std::get<ChatPrompt>(request.prompt).template_kwargs["enable_thinking"] = thinking;
    const Answer got = answer(request);
    const Json json = Json::parse(got.content, nullptr, false);
    EXPECT_TRUE(json.is_object() && json.size() == 2 && json.contains("capital")) << got.content;
    EXPECT_EQ(got.finished.reason, AnswerFinish::stop);
  }
  request.response_form = ChoiceForm{{"yes", "no"}};
  EXPECT_TRUE(answer(request).content == "yes" || answer(request).content == "no");
  request.response_form = form;
  const Answer called = answer(with_tools([&] {
    GenerationRequest other = ask("What is the weather in Paris?");
    other.response_form = form;
    return other;
  }()));
  EXPECT_TRUE(called.calls.size() == 1 || Json::accept(called.content)) << "a call, or the form";
}

TEST_F(GeneratorTest, StopStringEndsTheAnswer) {
  GenerationRequest request = ask("What is the capital of France?");
  request.stop = {" is Par"};
  const Answer cut = answer(request);
  EXPECT_EQ(cut.content, "The capital of France");
  EXPECT_EQ(cut.finished.stop_string, " is Par");
  EXPECT_EQ(cut.finished.reason, AnswerFinish::stop);
  request.include_stop_str_in_output = true;
  EXPECT_EQ(answer(request).content, "The capital of France is Par");
}

TEST_F(GeneratorTest, LengthIsCounted) {
  GenerationRequest request = ask("What is the capital of France?");
  request.max_tokens = 3;
  const Answer cut = answer(request);
  EXPECT_EQ(cut.finished.reason, AnswerFinish::length);
  EXPECT_EQ(cut.finished.usage.completion_tokens, 3);
  request.min_tokens = 3;
  request.ignore_eos = true;
  request.max_tokens = 40;
  EXPECT_EQ(answer(request).finished.usage.completion_tokens, 40);
}

TEST_F(GeneratorTest, ThinkingBudgetEndsTheThinking) {
  GenerationRequest request = ask("What is 58 + 99?", true);
  request.thinking_budget = 0;
  const Answer none = answer(request);
  EXPECT_EQ(none.reasoning, "");
  EXPECT_TRUE(none.finished.reasoning_truncated);
  EXPECT_NE(none.content, "");
  request.thinking_budget = 4;
  const Answer some = answer(request);
  EXPECT_TRUE(some.finished.reasoning_truncated);
  EXPECT_LE(some.finished.usage.reasoning_tokens, 4 + 8 + 3);
  request.thinking_budget = 1000;
  EXPECT_FALSE(answer(request).finished.reasoning_truncated);
}

TEST_F(GeneratorTest, SeedGivesTheSameTextAloneAndInACrowd) {
  GenerationRequest request = ask("Tell me a short story.");
  request.temperature = 1.0F;
  request.top_p = 0.95F;
  request.seed = 42;
  request.logprobs = true;
  request.top_logprobs = 2;
  request.n = 2;
  request.max_tokens = 60;
  const std::vector<Answer> alone = answers(request);
  EXPECT_FALSE(alone[0].same_text(alone[1])) << "answers of one request differ";
  EXPECT_EQ(alone[0].finished.sampling.seed, 42U);

  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<Generation> generations;
  for (int i = 0; i < 12; ++i) {
    GenerationRequest other = i % 3 == 0 ? request : ask("What is " + std::to_string(i) + " + 9?", true);
    listeners.push_back(std::make_unique<Listener>());
    generations.push_back(server().generator->start(server().generator->prepare(other), listeners.back()->callback()));
  }
  for (std::size_t i = 0; i < listeners.size(); i += 3) {
    const auto events = listeners[i]->wait(2);
    EXPECT_TRUE(collect(events, 0).same_text(alone[0])) << collect(events, 0).content;
    EXPECT_TRUE(collect(events, 1).same_text(alone[1]));
  }
  GenerationRequest single = request;
  single.n = 1;
  EXPECT_TRUE(answer(single).same_text(alone[0])) << "the first of two is the one of one";
  for (auto& listener : listeners) listener->wait(1);
}

TEST_F(GeneratorTest, AnswersToOnePromptAreThoseOfAsManyRequests) {
  GenerationRequest request = ask("Tell me three short stories, of which no two are alike.");
  request.temperature = 1.0F;
  request.seed = 7;
  request.logprobs = true;
  request.max_tokens = 30;
  request.n = 5;
  const std::vector<Answer> together = answers(request);
  request.n = 1;
  for (std::size_t i = 0; i < together.size(); ++i) {
    const Usage& usage = together[i].finished.usage;
    EXPECT_EQ(usage.cached_tokens, i == 0 ? 0 : usage.prompt_tokens - 1) << "the prompt is computed once";
    request.seed = together[i].finished.sampling.seed;
    request.cache_salt = std::to_string(i);
    const Answer alone = answer(request);
    EXPECT_EQ(alone.finished.usage.cached_tokens, 0);
    EXPECT_TRUE(alone.same_text(together[i])) << i;
  }
}

TEST_F(GeneratorTest, TellsHowFarThePromptIs) {
  GenerationRequest request = ask("A question " + std::string(1500, '?'));
  request.prompt_progress = true;
  request.max_tokens = 2;
  PreparedRequest prepared = server().generator->prepare(request);
  Listener listener;
  const Generation generation = server().generator->start(std::move(prepared), listener.callback());
  std::int64_t processed = 0, prompt_tokens = 0;
  for (const ChoiceEvent& event : listener.wait(1)) {
    if (const auto* progress = std::get_if<PromptProgressed>(&event.event)) {
      EXPECT_GT(progress->processed_tokens, processed);
      processed = progress->processed_tokens;
      prompt_tokens = progress->prompt_tokens;
    }
  }
  EXPECT_GT(prompt_tokens, 512) << "more than one step";
  EXPECT_EQ(processed, prompt_tokens);
}

TEST_F(GeneratorTest, PausedAnswersGoOnWithTheSameText) {
  GenerationRequest request = ask("Tell me a long story.");
  request.ignore_eos = true;
  request.max_tokens = 300;
  request.logprobs = true;
  const Answer whole = answer(request);
  Listener listener;
  Generation generation = server().generator->start(server().generator->prepare(request), listener.callback());
  listener.wait_for_events(20);
  generation.pause(true);
  answer(ask("What is the capital of France?"));
  const std::size_t heard = listener.count();
  answer(ask("What is the capital of Spain?"));
  EXPECT_EQ(listener.count(), heard) << "nothing comes while it is paused";
  generation.pause(false);
  EXPECT_TRUE(collect(listener.wait(1), 0).same_text(whole));
}

TEST_F(GeneratorTest, NextTurnStartsFromTheLast) {
  GenerationRequest first =
      ask("The first question, which is long enough to be worth remembering: what is the capital of "
          "France? Please answer in one sentence, and say nothing else about it.",
          true);
  const Answer one = answer(first);
  EXPECT_EQ(one.finished.usage.cached_tokens, 0);
  GenerationRequest second = first;
  Json& messages = std::get<ChatPrompt>(second.prompt).messages;
  messages.push_back({{"role", "assistant"}, {"content", one.content}, {"reasoning_content", one.reasoning}});
  messages.push_back({{"role", "user"}, {"content", "And of Spain?"}});
  const Answer two = answer(second);
  EXPECT_GE(two.finished.usage.cached_tokens, one.finished.usage.prompt_tokens - 2) << "all but what follows <think>";
  second.cache_salt = "another tenant";
  const Answer apart = answer(second);
  EXPECT_EQ(apart.finished.usage.cached_tokens, 0);
  EXPECT_EQ(apart.content, two.content);
}

TEST_F(GeneratorTest, ToolLoopStartsFromItsEnd) {
  GenerationRequest request = with_tools(ask("What is the weather in Rome?"));
  const Answer call = answer(request);
  ASSERT_EQ(call.calls.size(), 1U);
  Json& messages = std::get<ChatPrompt>(request.prompt).messages;
  messages.push_back({{"role", "assistant"},
                      {"content", ""},
                      {"tool_calls",
                       {{{"id", "call_1"},
                         {"type", "function"},
                         {"function", {{"name", call.calls[0].first}, {"arguments", call.calls[0].second}}}}}}});
  messages.push_back(
      {{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", R"({"weather": "sunny", "temperature": 21})"}});
  const Answer end = answer(request);
  EXPECT_EQ(end.content, "It is sunny in Rome, 21 degrees.");
  EXPECT_GE(end.finished.usage.cached_tokens,
            call.finished.usage.prompt_tokens + call.finished.usage.completion_tokens - 2);
}

TEST_F(GeneratorTest, CallsComeBackAsTheModelWroteThem) {
  GenerationRequest request = ask("Add up some numbers.");
  Json add = tool("add", "Add numbers.", {{"numbers", {{"type", "array"}, {"items", {{"type", "integer"}}}}}});
  Json& parameters = add["function"]["parameters"];
  parameters["properties"]["numbers"].update({{"minItems", 3}, {"maxItems", 3}});
  parameters["required"] = {"numbers"};
  std::get<ChatPrompt>(request.prompt).tools = Json::array({add});
  request.tool_choice = ToolChoice::required;
  // Blanks that a template wouldn't write.
  request.logit_bias = {{TokenId{server().tokenizer.encode("\n", {.post_process = false})[0]}, 6.0F}};
  PreparedRequest prepared = server().generator->prepare(request);
  Listener listener;
  const Generation generation = server().generator->start(std::move(prepared), listener.callback());
  std::string id;
  const std::vector<ChoiceEvent> events = listener.wait(1);
  for (const ChoiceEvent& event : events)
    if (const auto* begin = std::get_if<ToolCallBegin>(&event.event)) id = begin->id;
  const Answer call = collect(events, 0);
  ASSERT_EQ(call.calls.size(), 1U);
  EXPECT_EQ(Json::parse(call.calls[0].second)["numbers"].size(), 3U);
  const auto next_turn = [&](const std::string& call_id) {
    GenerationRequest next = request;
    next.tool_choice = ToolChoice::automatic;
    next.logit_bias.clear();
    Json& messages = std::get<ChatPrompt>(next.prompt).messages;
    messages.push_back({{"role", "assistant"},
                        {"content", ""},
                        {"tool_calls",
                         {{{"id", call_id},
                           {"type", "function"},
                           {"function", {{"name", "add"}, {"arguments", call.calls[0].second}}}}}}});
    messages.push_back({{"role", "tool"}, {"tool_call_id", call_id}, {"content", "6"}});
    return answer(next).finished.usage;
  };
  const Usage unknown = next_turn("call_of_another_server"), known = next_turn(id);
  const std::int64_t whole = call.finished.usage.prompt_tokens + call.finished.usage.completion_tokens;
  EXPECT_LT(unknown.cached_tokens, whole - 2);
  EXPECT_GE(known.cached_tokens, whole - 2);
}

TEST_F(GeneratorTest, PromptLogprobsCoverThePrompt) {
  GenerationRequest request;
  request.prompt =
      std::vector<TextPrompt>{std::string("The capital of France is Paris."), std::vector<TokenId>{66, 1588}};
  request.max_tokens = 0;
  request.prompt_logprobs = 2;
  request.logprobs = true;
  const std::vector<Answer> got = answers(request);
  ASSERT_EQ(got.size(), 2U);
  const std::vector<TokenId> tokens = server().tokenizer.encode("The capital of France is Paris.");
  ASSERT_EQ(got[0].prompt.size(), tokens.size());
  EXPECT_TRUE(std::isnan(got[0].prompt[0].logprob));
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    EXPECT_EQ(got[0].prompt[i].token, tokens[i]);
    EXPECT_EQ(got[0].prompt[i].top.size(), 2U);
    EXPECT_LE(got[0].prompt[i].logprob, 0);
  }
  EXPECT_EQ(got[1].prompt.size(), 2U);
  EXPECT_EQ(got[0].finished.usage.completion_tokens, 0);
}

TEST_F(GeneratorTest, WhatDoesNotFitIsRefusedWithBothNumbers) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "word ";
  try {
    server().generator->prepare(ask(text));
    FAIL() << "expected a ContextError";
  } catch (const ContextError& error) {
    EXPECT_GT(error.prompt_tokens(), 2048);
    EXPECT_EQ(error.context(), 2048);
  }
  EXPECT_THROW(server().generator->prepare(ask(std::string(8 << 20, 'x'))), ContextError) << "before it is tokenised";
}

TEST_F(GeneratorTest, FieldsThatOnlyTheModelCanJudgeAreRefusedByName) {
  const auto field_of = [](GenerationRequest request) -> std::string {
    try {
      server().generator->prepare(std::move(request));
      return "accepted";
    } catch (const FieldError& error) {
      return error.field();
    }
  };
  GenerationRequest request = ask("Hi");
  request.logit_bias = {{TokenId{1 << 20}, 1.0F}};
  EXPECT_EQ(field_of(request), "logit_bias");
  request.logit_bias = {{std::string("several tokens of text"), 1.0F}};
  EXPECT_EQ(field_of(request), "logit_bias");
  request = ask("Hi");
  request.stop_token_ids = {-1};
  EXPECT_EQ(field_of(request), "stop_token_ids");
  request = ask("Hi");
  request.response_form = JsonObjectForm{};
  request.ignore_eos = true;
  EXPECT_EQ(field_of(request), "ignore_eos");
  request = ask("Hi");
  request.min_tokens = 500;
  EXPECT_EQ(field_of(request), "min_tokens");
  request = ask("Hi");
  request.prompt = std::vector<TextPrompt>{std::string()};
  EXPECT_EQ(field_of(request), "prompt");
  request = ask("Hi");
  JsonSchemaForm form;
  form.schema = Json::parse(R"({"type": "string", "pattern": "a"})");
  request.response_form = form;
  EXPECT_THROW(server().generator->prepare(request), SchemaError);
}

TEST_F(GeneratorTest, StoppedAnswersSayWhyAndNothingComesAfterDestruction) {
  GenerationRequest endless = ask("Tell me a short story.");
  endless.ignore_eos = true;
  endless.max_tokens = 1500;
  Listener timed;
  Generation generation = server().generator->start(server().generator->prepare(endless), timed.callback());
  timed.wait_for_events(5);
  generation.stop(AnswerFinish::timeout);
  EXPECT_EQ(collect(timed.wait(1), 0).finished.reason, AnswerFinish::timeout);

  Listener gone;
  std::size_t seen = 0;
  {
    const Generation dropped = server().generator->start(server().generator->prepare(endless), gone.callback());
    gone.wait_for_events(5);
  }
  seen = gone.count();
  answer(ask("Hi"));
  EXPECT_EQ(gone.count(), seen);
  EXPECT_EQ(server().engine->active(), 0);
}

TEST_F(GeneratorTest, FullQueueTakesAllChoicesOrNone) {
  DemoServer small([](EngineOptions& options) {
    options.max_sequences = 1;
    options.max_queue = 1;
  });
  GenerationRequest endless = ask("Tell me a short story.");
  endless.ignore_eos = true;
  endless.max_tokens = 1500;
  Listener first, second;
  const Generation running = small.generator->start(small.generator->prepare(endless), first.callback());
  GenerationRequest three = endless;
  three.n = 3;
  try {
    small.generator->start(small.generator->prepare(three), second.callback());
    FAIL() << "expected Error{busy}";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::busy);
  }
  EXPECT_EQ(second.count(), 0U);
}

TEST_F(GeneratorTest, BiasReachesTheModel) {
  GenerationRequest request = ask("What is the capital of France?");
  const TokenId first = server().tokenizer.encode(" Paris").front();
  request.logit_bias = {{first, -100.0F}};
  EXPECT_EQ(answer(request).content.find(" Paris"), std::string::npos);
}

}  // namespace
}  // namespace strata
