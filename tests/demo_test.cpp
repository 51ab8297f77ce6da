// The shipped demo model against an independent implementation's logits and answers.
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/registry/make_backend.h"
#include "base/json.h"
#include "model/registry.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "validation/reference_file.h"

namespace strata {
namespace {

const std::filesystem::path kFixtures = STRATA_SOURCE_DIR "/tests/fixtures";
const std::filesystem::path kDemo = STRATA_SOURCE_DIR "/models/demo";

class Demo : public testing::Test {
 protected:
  const std::unique_ptr<Backend> backend = make_backend({});
  const std::unique_ptr<Model> model = load_model(Checkpoint::open(kDemo), *backend);
  ModelRunner runner{*model, *backend, {}};
};

TEST_F(Demo, LogitsAreCloseToTheReference) {
  for (const std::string prompt : {"0", "1", "2"}) {
    const auto reference =
        ReferenceFile::read(kFixtures / "demo_reference.safetensors", "ids." + prompt, "logits." + prompt);
    const Distance d = compare(runner, reference).logits;
    std::printf("  prompt %s: rel L2 %.2e, top-1 %.1f %%\n", prompt.c_str(), d.rel_l2, 100 * d.top1_agreement);
    EXPECT_LE(d.rel_l2, 3e-2) << "prompt " << prompt;
    EXPECT_GE(d.top1_agreement, 0.98) << "prompt " << prompt;
  }
}

TEST_F(Demo, AnswersAreTheReferences) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo);
  const ChatTemplate chat = ChatTemplate::load(kDemo);
  const TokenId end = tokenizer.find("<|im_end|>").value();
  std::int64_t greedy = 0, expected = 0, total = 0;
  for (const Json& question : read_json(kFixtures / "demo_questions.json")) {
    const Json request{{"messages", Json::array({{{"role", "user"}, {"content", question["user"]}}})},
                       {"chat_template_kwargs", {{"enable_thinking", question["thinking"]}}},
                       {"add_generation_prompt", true}};
    const std::vector<TokenId> prompt = tokenizer.encode(chat.render(template_context(request)));
    EXPECT_EQ(std::ssize(prompt), question["prompt_tokens"].get<std::int64_t>());
    SequenceState state = runner.fresh();
    Logits logits = runner.feed(state, prompt, 512);
    std::vector<TokenId> answer;
    while (answer.size() < 200 && (answer.empty() || answer.back() != end)) {
      answer.push_back(largest(logits.row(logits.rows - 1)));
      logits = runner.feed(state, {&answer.back(), 1}, 1);
    }
    if (answer.back() == end) answer.pop_back();
    const std::string text = tokenizer.decode(answer);
    ++total;
    greedy += text == question["greedy"].get<std::string>();
    expected += text == question["expected"].get<std::string>();
  }
  std::printf("  %ld questions: %ld answers equal to the reference's, %ld to what is expected\n", long(total),
              long(greedy), long(expected));
  EXPECT_EQ(total, 170);
  EXPECT_GE(greedy, 166);
  EXPECT_GE(expected, 166);
}

}  // namespace
}  // namespace strata
