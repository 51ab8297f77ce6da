// Claims about the log probabilities of a prompt's own tokens.
#include <gtest/gtest.h>

#include "engine/engine_test_requests.h"

namespace strata {
namespace {

struct Heard {
  std::vector<TokenId> tokens, top_ids;
  std::vector<float> logprobs, top_logprobs;
  bool operator==(const Heard&) const = default;
};

Request listen_to_prompt(Request request, Heard& heard, const Answer& answer) {
  request.prompt_logprobs = true;
  request.on_prompt = [&](std::span<const PromptLogprob> news) {
    EXPECT_FALSE(news.empty());
    EXPECT_TRUE(answer.tokens.empty()) << "the prompt comes before the answer";
    for (const PromptLogprob& p : news) {
      heard.tokens.push_back(p.token);
      heard.logprobs.push_back(p.logprob);
      heard.top_ids.insert(heard.top_ids.end(), p.top_ids.begin(), p.top_ids.end());
      heard.top_logprobs.insert(heard.top_logprobs.end(), p.top_logprobs.begin(), p.top_logprobs.end());
    }
  };
  return request;
}

Heard right(const std::vector<TokenId>& prompt, std::int32_t tops) {
  Heard heard;
  std::uint64_t hash = 0;
  SamplingParameters p{.logprobs = true, .top_logprobs = tops};
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    hash = fake_hash(hash, prompt[i]);
    std::vector<float> logits(kFakeVocab), logprobs(static_cast<std::size_t>(tops));
    std::vector<TokenId> ids(static_cast<std::size_t>(tops));
    fake_logits(hash, logits.data());
    SamplingRow row{&p};
    row.given = prompt[i + 1];
    heard.logprobs.push_back(sample_row(logits, row, ids, logprobs).logprob);
    heard.tokens.push_back(prompt[i + 1]);
    heard.top_ids.insert(heard.top_ids.end(), ids.begin(), ids.end());
    heard.top_logprobs.insert(heard.top_logprobs.end(), logprobs.begin(), logprobs.end());
  }
  return heard;
}

TEST(PromptLogprobs, AreTheSameBitsWhateverTheChunksRowsNeighboursAndPages) {
  for (const EngineOptions& options : std::vector<EngineOptions>{
           {.context = kContext},
           {.context = kContext, .logit_rows = 200},
           {.max_sequences = 3, .context = kContext, .chunk = 7, .logit_rows = 5, .steps_in_flight = 2},
           {.max_sequences = 5, .context = kContext, .chunk = 64, .mixed_chunk = 3, .steps_in_flight = 3},
           {.max_sequences = 5, .context = kContext, .kv_tokens = 200, .chunk = 16, .logit_rows = 40},
       }) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(model, backend, options);
    constexpr std::size_t kRequests = 6;
    std::vector<Heard> heard(kRequests);
    std::vector<Answer> answers(kRequests);
    const auto request = [](std::size_t i) {
      return ask(tokens_from(static_cast<TokenId>(i), 1 + 25 * i), i % 3 == 2 ? 0 : 20,
                 {.temperature = i % 2 ? 1.0f : 0.0f, .top_logprobs = i % 2 ? 3 : 0});
    };
    for (std::size_t i = 0; i < kRequests; ++i) {
      Request r = listen(request(i), answers[i]);
      if (i != 3) r = listen_to_prompt(std::move(r), heard[i], answers[i]);
      engine.submit(std::move(r));
    }
    run(engine);
    for (std::size_t i = 0; i < kRequests; ++i) {
      const Request r = request(i);
      EXPECT_EQ(answers[i].tokens, expected(r, kContext).tokens) << "request " << i;
      EXPECT_EQ(answers[i].finish, FinishReason::length);
      EXPECT_EQ(heard[i], i == 3 ? Heard() : right(r.prompt, r.sampling.top_logprobs)) << "request " << i;
    }
    for (const FakeStep& step : model.steps) {
      EXPECT_LE(step.logit_rows, static_cast<std::size_t>(std::max(options.logit_rows, options.max_sequences)));
      EXPECT_LE(step.tokens, static_cast<std::size_t>(options.chunk));
    }
    EXPECT_EQ(engine.stats().prefix_queries, 1) << "all but one compute their whole prompt";
  }
}

TEST(PromptLogprobs, OfBadLogitsEndTheRequest) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = kContext, .logit_rows = 8});
  std::vector<TokenId> prompt = tokens_from(1, 10);
  prompt[4] = kBroken;
  Heard heard;
  Answer answer;
  engine.submit(listen_to_prompt(listen(ask(prompt, 5), answer), heard, answer));
  run(engine);
  EXPECT_EQ(answer.finish, FinishReason::numerical_error);
  EXPECT_EQ(answer.last_events, 1);
  EXPECT_TRUE(answer.error.starts_with("the logits of token 5 ")) << answer.error;
}

TEST(PromptLogprobs, CanBeCancelled) {
  FakeBackend backend;
  FakeModel model;
  Engine engine(model, backend, {.context = kContext, .chunk = 4, .steps_in_flight = 2});
  Heard heard;
  Answer answer;
  const RequestId id = engine.submit(listen_to_prompt(listen(ask(tokens_from(1, 50), 5), answer), heard, answer));
  for (int i = 0; i < 6; ++i) engine.step();
  engine.cancel(id);
  run(engine);
  EXPECT_EQ(answer.finish, FinishReason::cancelled);
  EXPECT_EQ(answer.last_events, 1);
  EXPECT_GT(heard.tokens.size(), 0u);
}

TEST(PromptProgress, IsToldAfterEachStepAndBeforeTheAnswer) {
  for (const int in_flight : {1, 3}) {
    FakeBackend backend;
    FakeModel model;
    Engine engine(model, backend, {.context = kContext, .chunk = 16, .spare_slots = 2, .steps_in_flight = in_flight});
    for (const std::int64_t cached : {0, 30}) {
      Answer answer;
      std::vector<std::int64_t> heard;
      Request request = listen(ask(tokens_from(1, 50), 4), answer);
      request.snapshots = {30};
      request.on_progress = [&](std::int64_t tokens) {
        EXPECT_TRUE(answer.tokens.empty());
        heard.push_back(tokens);
      };
      engine.submit(std::move(request));
      run(engine);
      EXPECT_EQ(heard, cached == 0 ? (std::vector<std::int64_t>{16, 30, 46, 50}) : (std::vector<std::int64_t>{46, 50}));
    }
  }
}

}  // namespace
}  // namespace strata
