// The demo model against its reference: logits of three prompts, and greedy answers to 170 questions.
#pragma once

#include "base/json.h"
#include "tests/checkpoints.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "validation/reference_file.h"

namespace strata {

inline void expect_demo_logits(ModelRunner& runner) {
  for (const std::string prompt : {"0", "1", "2"}) {
    const auto reference =
        ReferenceFile::read(kSource / "tests/fixtures/demo_reference.safetensors", "ids." + prompt, "logits." + prompt);
    const Distance d = compare(runner, reference).logits;
    std::printf("  prompt %s: rel L2 %.2e, top-1 %.1f %%\n", prompt.c_str(), d.rel_l2, 100 * d.top1_agreement);
    EXPECT_LE(d.rel_l2, 3e-2) << "prompt " << prompt;
    EXPECT_GE(d.top1_agreement, 0.98) << "prompt " << prompt;
  }
}

/// The answer of largest logits, without its end.
inline std::vector<TokenId> greedy_answer(ModelRunner& runner, const std::vector<TokenId>& prompt, TokenId end) {
  SequenceState state = runner.fresh();
  Logits logits = runner.feed(state, prompt, 512);
  std::vector<TokenId> answer;
  while (answer.size() < 200 && (answer.empty() || answer.back() != end)) {
    answer.push_back(largest(logits.row(logits.rows - 1)));
    logits = runner.feed(state, {&answer.back(), 1}, 1);
  }
  if (answer.back() == end) answer.pop_back();
  return answer;
}

inline void expect_demo_answers(ModelRunner& runner) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo);
  const ChatTemplate chat = ChatTemplate::load(kDemo);
  const TokenId end = tokenizer.find("<|im_end|>").value();
  std::int64_t greedy = 0, expected = 0, total = 0;
  for (const Json& question : read_json(kSource / "tests/fixtures/demo_questions.json")) {
    const Json request{{"messages", Json::array({{{"role", "user"}, {"content", question["user"]}}})},
                       {"chat_template_kwargs", {{"enable_thinking", question["thinking"]}}},
                       {"add_generation_prompt", true}};
    const std::vector<TokenId> prompt = tokenizer.encode(chat.render(template_context(request)));
    EXPECT_EQ(std::ssize(prompt), question["prompt_tokens"].get<std::int64_t>());
    const std::string text = tokenizer.decode(greedy_answer(runner, prompt, end));
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

}  // namespace strata
