// The engine on real models: neither chunks, neighbours, steps in flight, nor a state that was kept or forked change an
// answer.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <map>

#include "backend/registry/make_backend.h"
#include "model/registry.h"

namespace strata {
namespace {

const std::filesystem::path kSource = STRATA_SOURCE_DIR;

/// One answer as a client saw it.
struct Answer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  FinishReason finish = FinishReason::none;
  bool operator==(const Answer&) const = default;
};

class Engines : public testing::TestWithParam<std::string> {
 protected:
  const std::unique_ptr<Backend> backend = make_backend({});
  const std::unique_ptr<Model> model = load_model(Checkpoint::open(kSource / GetParam()), *backend);

  /// A mixture of greedy and drawn answers, with and without penalties.
  std::vector<Request> requests() const {
    std::vector<Request> all;
    for (int r = 0; r < 6; ++r) {
      Request request;
      for (int t = 0; t < 5 + 61 * r; ++t)
        request.prompt.push_back(static_cast<TokenId>((t * 7919 + r * 104729 + 3) % model->vocab_size()));
      request.sampling.temperature = r % 2 ? 0.8f : 0.0f;
      request.sampling.top_p = 0.9f;
      request.sampling.seed = static_cast<std::uint64_t>(40 + r);
      request.sampling.logprobs = true;
      if (r >= 4) request.sampling.repetition_penalty = 1.2f;
      request.max_tokens = 20;
      all.push_back(std::move(request));
    }
    return all;
  }

  static Request listen(Request request, Answer& answer) {
    request.on_token = [&answer](const TokenEvent& event) {
      if (event.token >= 0) {
        answer.tokens.push_back(event.token);
        answer.logprobs.push_back(event.logprob);
      }
      answer.finish = event.finish;
    };
    return request;
  }

  std::vector<Answer> run(const EngineOptions& options, std::vector<Request> all, EngineStats* stats = nullptr) {
    std::vector<Answer> answers(all.size());
    Engine engine(*model, *backend, options);
    for (std::size_t r = 0; r < all.size(); ++r) engine.submit(listen(std::move(all[r]), answers[r]));
    while (engine.step()) {
    }
    if (stats) *stats = engine.stats();
    return answers;
  }
};

TEST_P(Engines, ChunksNeighboursAndStepsInFlightDontChangeAnswers) {
  const std::vector<Answer> alone = run({.max_sequences = 1, .context = 400, .chunk = 400}, requests());
  for (const Answer& answer : alone) {
    EXPECT_EQ(answer.tokens.size(), 20u);
    EXPECT_EQ(answer.finish, FinishReason::length);
  }
  for (int steps : {1, 2, 3}) {
    for (std::int64_t chunk : {6, 37, 128, 512}) {
      const EngineOptions options{.max_sequences = 6, .context = 400, .chunk = chunk, .steps_in_flight = steps};
      EXPECT_EQ(run(options, requests()), alone) << "chunk " << chunk << ", " << steps << " steps in flight";
    }
  }
}

TEST_P(Engines, ParkingMixedChunksAndSmallPoolsDontChangeAnswers) {
  const std::vector<Answer> alone = run({.max_sequences = 1, .context = 400, .chunk = 400}, requests());
  for (int steps : {1, 3}) {
    for (std::int64_t mixed_chunk : {1, 48}) {
      EngineOptions options{.max_sequences = 6, .context = 400, .kv_tokens = 448, .mixed_chunk = mixed_chunk};
      options.steps_in_flight = steps;
      EXPECT_EQ(run(options, requests()), alone) << "mixed_chunk " << mixed_chunk;
    }
  }
  // Prompts of less than a page that grow to two or three, in a pool for five.
  const auto growing = [&] {
    std::vector<Request> all = requests();
    for (Request& request : all) {
      request.prompt.resize(5 + request.prompt.size() % 40);
      request.max_tokens = 100;
    }
    return all;
  };
  EngineStats stats;
  const std::vector<Answer> each = run({.max_sequences = 1, .context = 400}, growing());
  EXPECT_EQ(run({.max_sequences = 4, .context = 400, .kv_tokens = 5 * kPageSize}, growing(), &stats), each);
  EXPECT_GT(stats.preemptions, 0);
}

TEST_P(Engines, ARememberedBeginningChangesNoBit) {
  const std::vector<Answer> cold = run({.max_sequences = 1, .context = 400, .chunk = 400}, requests());
  Engine engine(*model, *backend,
                {.max_sequences = 2, .context = 400, .kv_tokens = 4000, .chunk = 37, .spare_slots = 12});
  for (Request& request : requests()) {  // leave snapshots in the middle of every prompt
    const auto length = std::ssize(request.prompt);
    request.snapshots = {length / 3 + 1, length - 1};
    request.max_tokens = 1;
    engine.submit(std::move(request));
  }
  while (engine.step()) {
  }
  std::vector<Answer> warm(cold.size());
  std::vector<Request> again = requests();
  for (std::size_t r = 0; r < again.size(); ++r) {
    const auto length = std::ssize(again[r].prompt);
    again[r].on_start = [length](std::int64_t cached) { EXPECT_EQ(cached, length - 1); };
    engine.submit(listen(std::move(again[r]), warm[r]));
  }
  while (engine.step()) {
  }
  EXPECT_EQ(warm, cold);
}

TEST_P(Engines, PromptLogprobsAreTheSameBitsWhateverTheChunks) {
  const auto ask_all = [&](const EngineOptions& options) {
    std::vector<std::vector<float>> logprobs(6);
    Engine engine(*model, *backend, options);
    std::vector<Request> all = requests();
    for (std::size_t r = 0; r < all.size(); ++r) {
      all[r].prompt_logprobs = true;
      all[r].max_tokens = r % 2 ? 0 : 4;
      all[r].on_prompt = [&heard = logprobs[r]](std::span<const PromptLogprob> news) {
        for (const PromptLogprob& p : news) heard.push_back(p.logprob);
      };
      engine.submit(std::move(all[r]));
    }
    while (engine.step()) {
    }
    return logprobs;
  };
  const auto whole = ask_all({.max_sequences = 1, .context = 400, .chunk = 400, .logit_rows = 400});
  for (std::size_t r = 0; r < whole.size(); ++r) EXPECT_EQ(whole[r].size(), requests()[r].prompt.size() - 1);
  EXPECT_EQ(ask_all({.max_sequences = 1, .context = 400, .chunk = 64, .logit_rows = 5}), whole);
  EXPECT_EQ(ask_all({.max_sequences = 6, .context = 400, .chunk = 128, .logit_rows = 33}), whole);
}

TEST_P(Engines, AKeptStateContinuesAsTheWholeConversationWould) {
  std::vector<TokenId> seen;
  std::optional<SequenceState> kept;
  Engine engine(*model, *backend, {.max_sequences = 1, .context = 400, .chunk = 64, .spare_slots = 2});
  auto ask = [&](std::vector<TokenId> prompt, std::optional<SequenceState> state, bool keep) {
    std::vector<TokenId> answer;
    Request request;
    request.prompt = std::move(prompt);
    request.state = std::move(state);
    request.max_tokens = 12;
    request.on_token = [&](const TokenEvent& event) { answer.push_back(event.token); };
    if (keep) {
      request.on_state = [&](SequenceState s, std::vector<TokenId> tokens) {
        kept = std::move(s);
        seen = std::move(tokens);
      };
    }
    engine.submit(std::move(request));
    while (engine.step()) {
    }
    return answer;
  };
  const std::vector<TokenId> first = ask({5, 9, 2, 31, 17, 4, 8, 12, 77}, std::nullopt, true);
  ASSERT_TRUE(kept);
  ASSERT_EQ(kept->length(), std::ssize(seen));
  std::vector<TokenId> second = seen;
  second.push_back(first.back());
  second.insert(second.end(), {40, 41, 42});
  std::optional<SequenceState> fork = engine.pool().fork(*kept);
  ASSERT_TRUE(fork);
  const std::vector<TokenId> whole = ask(second, std::nullopt, false);
  EXPECT_EQ(ask(second, std::move(kept), false), whole);
  EXPECT_EQ(ask(second, std::move(fork), false), whole) << "the fork has the same past";
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Engines,
                         testing::Values("tests/fixtures/checkpoints/tiny-super-mixed",
                                         "tests/fixtures/checkpoints/tiny-dense-bf16", "models/demo"),
                         [](const auto& test) {
                           std::string name = std::filesystem::path(test.param).filename().string();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace strata
