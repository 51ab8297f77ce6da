// Requests and their right answers, for tests of the engine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_test_fakes.h"

namespace strata {

struct Answer {
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::none;
  int last_events = 0;
  std::string error;
};

/// `request`, its events going to `answer`.
inline Request listen(Request request, Answer& answer) {
  request.on_token = [&answer](const TokenEvent& e) {
    EXPECT_EQ(answer.last_events, 0) << "an event after the last";
    if (e.token >= 0) answer.tokens.push_back(e.token);
    answer.finish = e.finish;
    answer.last_events += e.finish != FinishReason::none;
    answer.error = e.error;
  };
  return request;
}

inline Request ask(std::vector<TokenId> prompt, std::int64_t max_tokens, SamplingParameters sampling = {}) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling = std::move(sampling);
  return request;
}

inline std::vector<TokenId> tokens_from(TokenId first, std::size_t count) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>((first + i * i * 7 + i) % kBroken));
  return tokens;
}

inline void run(Engine& engine) {
  while (engine.step()) {
  }
}

/// What a request's answer must be, without an engine.
inline Answer expected(const Request& request, std::int64_t context) {
  Answer answer;
  std::uint64_t hash = 0;
  for (TokenId t : request.prompt) hash = fake_hash(hash, t);
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t limit = std::min(request.max_tokens, context - prompt);
  answer.finish = FinishReason::length;
  SamplingParameters sampling = request.sampling;
  sampling.top_logprobs = 0;
  while (static_cast<std::int64_t>(answer.tokens.size()) < limit) {
    std::vector<float> logits(kFakeVocab);
    fake_logits(hash, logits.data());
    const SamplingRow row{&sampling, static_cast<std::uint64_t>(prompt) + answer.tokens.size(), request.prompt,
                          answer.tokens};
    const TokenId token = sample_row(logits, row, {}, {}).token;
    answer.tokens.push_back(token);
    hash = fake_hash(hash, token);
    if (std::count(request.stop_tokens.begin(), request.stop_tokens.end(), token) > 0) {
      answer.finish = FinishReason::stop;
      break;
    }
  }
  return answer;
}

inline constexpr std::int64_t kContext = 150;

}  // namespace strata
