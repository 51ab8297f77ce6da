// The demo model under constraints: its answers are of the grammar, alone and in a crowd, with the same bits.
#include <gtest/gtest.h>

#include "backend/registry/make_backend.h"
#include "engine/engine.h"
#include "model/registry.h"
#include "server/constrained/constraint_compiler.h"
#include "server/constrained/grammar_test_support.h"
#include "text/chat_template.h"

namespace strata {
namespace {

constexpr TokenId kEnd = 11, kThinkEnd = 13;
const std::filesystem::path kDemo = STRATA_SOURCE_DIR "/models/demo";

struct Answer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  FinishReason finish = FinishReason::none;
  std::string error;
  bool operator==(const Answer&) const = default;
};

/// A question, and what its answer has to be like.
struct Question {
  std::string text;
  AnswerStart start;
  std::shared_ptr<const CompiledGrammar> grammar;  // null: anything
  bool calls = false;
};

class ConstrainedEngine : public testing::Test {
 protected:
  std::vector<Answer> run(const std::vector<Question>& questions, std::int64_t sequences, float temperature) {
    std::vector<Answer> answers(questions.size());
    Engine engine(*model, *backend, {.max_sequences = sequences, .context = 1024, .chunk = 64, .steps_in_flight = 2});
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const Question& question = questions[i];
      Request request;
      const Json chat = {{"messages", {{{"role", "user"}, {"content", question.text}}}},
                         {"chat_template_kwargs", {{"enable_thinking", question.start == AnswerStart::thinking}}}};
      request.prompt = demo_tokenizer().encode(templates.render(template_context(chat)));
      request.max_tokens = 400;
      request.stop_tokens = {kEnd};
      request.sampling.temperature = temperature;
      request.sampling.seed = i;
      request.sampling.logprobs = true;
      if (question.grammar)
        request.constraints.push_back(question.calls
                                          ? compiler.constrain_tool_calls(question.grammar, question.start, false)
                                          : compiler.constrain_answer(question.grammar, question.start));
      request.on_token = [&answer = answers[i]](const TokenEvent& event) {
        if (event.token >= 0) {
          answer.tokens.push_back(event.token);
          answer.logprobs.push_back(event.logprob);
        }
        answer.finish = event.finish;
        answer.error = event.error;
      };
      engine.submit(std::move(request));
    }
    while (engine.step()) {
    }
    return answers;
  }

  /// What follows the thinking, without the end.
  static std::string content(const Answer& answer) {
    std::vector<TokenId> tokens = answer.tokens;
    if (!tokens.empty() && tokens.back() == kEnd) tokens.pop_back();
    const auto end = std::find(tokens.begin(), tokens.end(), kThinkEnd);
    if (end != tokens.end()) tokens.erase(tokens.begin(), end + 1);
    return demo_tokenizer().decode(tokens);
  }

  const std::unique_ptr<Backend> backend = make_backend({});
  const std::unique_ptr<Model> model = load_model(Checkpoint::open(kDemo), *backend);
  const ChatTemplate templates = ChatTemplate::load(kDemo);
  ConstraintCompiler compiler{demo_tokenizer(), {kEnd}};
  const std::vector<Json> schemas = {
      Json::parse(R"({"type":"object","properties":{"capital":{"type":"string","maxLength":30},
                      "population":{"type":"integer","minimum":1,"maximum":99}},"required":["capital","population"],
                      "additionalProperties":false})"),
      Json::parse(R"({"type":"array","items":{"anyOf":[{"type":"number","exclusiveMinimum":0.5,"maximum":17},
                      {"type":"null"}]},"minItems":2,"maxItems":4})"),
      Json::parse(R"({"type":"object","properties":{"answer":{"enum":["Paris","Rome","Oslo"]},
                      "sure":{"type":"boolean"}},"required":["answer"],"additionalProperties":false})")};
  const Json tools = Json::parse(R"([{"type":"function","function":{"name":"get_weather","parameters":
      {"type":"object","properties":{"city":{"type":"string","maxLength":40},"days":{"type":"integer","maximum":9,
      "minimum":1}},"required":["city","days"]}}}])");
};

TEST_F(ConstrainedEngine, AnswersAreOfTheirGrammarAloneAndInACrowdWithEqualBits) {
  std::vector<Question> questions;
  for (const AnswerStart start : {AnswerStart::content, AnswerStart::thinking}) {
    for (const Json& schema : schemas)
      questions.push_back({"What is the capital of France?", start, compiler.json_schema(schema)});
    questions.push_back({"What is the weather in Paris?", start, compiler.tool_calls(tools, "get_weather"), true});
    questions.push_back({"What is the capital of Italy?", start, nullptr});
  }
  for (const float temperature : {0.0f, 0.9f}) {
    const std::vector<Answer> crowd = run(questions, 8, temperature);
    EXPECT_EQ(run(questions, 1, temperature), crowd) << "neighbours changed an answer";
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const Answer& answer = crowd[i];
      EXPECT_EQ(answer.finish, FinishReason::stop)
          << i << ": " << answer.error << demo_tokenizer().decode(answer.tokens);
      const Question& question = questions[i];
      std::string text = content(answer);
      if (!question.grammar || answer.finish != FinishReason::stop) continue;
      if (question.calls) {
        ASSERT_TRUE(text.find("<tool_call>") != std::string::npos && text.ends_with("</tool_call>")) << text;
        text = text.substr(text.find("<tool_call>") + 11);
        text.resize(text.size() - 12);
      } else {
        EXPECT_TRUE(Json::accept(text)) << text;
      }
      EXPECT_TRUE(accepts(question.grammar->grammar(), text)) << text;
    }
  }
}

}  // namespace
}  // namespace strata
