// A long answer in an engine whose other requests come and go: memory stays what it was.
#include <cuda_runtime.h>

#include <cstdio>
#include <random>

#include "base/process_memory.h"
#include "engine/engine.h"
#include "tools/gpu_check/mid_model.h"

namespace strata::gpu_check {
namespace {

constexpr std::int64_t kMebi = std::int64_t{1} << 20;

struct Memory {
  std::int64_t device = 0, host = 0;  // bytes in use: of the GPU by all programs; resident, of this one
  static Memory now() {
    std::size_t left = 0, all = 0;
    cudaMemGetInfo(&left, &all);
    return {static_cast<std::int64_t>(all - left), process_memory().resident};
  }
};

class Soak : public MidTest {
 protected:
  static constexpr std::int64_t kTokens = 10'000, kNeighbours = 7;

  Request random_request(std::int64_t tokens, std::int64_t most_tokens) {
    Request request;
    for (std::int64_t i = 0; i < tokens; ++i)
      request.prompt.push_back(static_cast<TokenId>(random_() % static_cast<std::uint64_t>(model_->vocab_size())));
    request.max_tokens = most_tokens;
    return request;
  }
  /// Greedy, drawn on the GPU and drawn by the host in turn; remembered or not.
  Request neighbour() {
    const auto tokens = static_cast<std::int64_t>(1 + random_() % 700);
    Request request = random_request(tokens, static_cast<std::int64_t>(1 + random_() % 200));
    const auto kind = random_() % 8;
    if (kind % 2) request.sampling.temperature = 0.8f;
    if (kind == 3) request.sampling.top_k = 40;
    request.sampling.seed = random_();
    if (kind == 4) request.snapshots = {tokens};
    request.remember_end = kind == 5;
    request.on_token = [this](const TokenEvent& event) {
      if (event.finish == FinishReason::failed || event.finish == FinishReason::numerical_error) ++failed_;
      if (event.finish != FinishReason::none) --running_;
      ++tokens_;
    };
    return request;
  }
  /// A long answer to always the same prompt, with neighbours all the while; `watch` is called every 500 tokens of it.
  template <class Watch>
  std::vector<TokenId> long_answer(Engine& engine, std::uint64_t seed, Watch&& watch) {
    random_.seed(1);
    Request request = random_request(100, kTokens);
    random_.seed(seed);
    std::vector<TokenId> answer;
    bool done = false;
    request.on_token = [&](const TokenEvent& event) {
      answer.push_back(event.token);
      done = event.finish != FinishReason::none;
      if (answer.size() % 500 == 0) watch();
    };
    engine.submit(std::move(request));
    while (!done) {
      while (running_ < kNeighbours && random_() % 4 == 0) {
        engine.submit(neighbour());
        ++running_;
        ++requests_;
      }
      EXPECT_TRUE(engine.step());
    }
    while (engine.step()) {
    }
    return answer;
  }

  CudaBackend backend_;
  const std::unique_ptr<Model> model_ = mid_model(backend_);
  std::mt19937_64 random_;
  std::int64_t running_ = 0, requests_ = 0, tokens_ = 0, failed_ = 0;
};

TEST_F(Soak, MemoryIsFlatOverTenThousandTokensBesideRequestsThatComeAndGo) {
  EngineOptions options;
  options.max_sequences = kNeighbours + 1;
  options.context = kTokens + 200;
  options.kv_tokens = 2 * options.context;
  options.chunk = backend_.prompt_chunk();
  options.spare_slots = 4;
  options.steps_in_flight = 3;
  Engine engine(*model_, backend_, options);
  // Once for what is made at the first use: graphs by number of sequences and length, the allocator's reserves. A graph
  // that only comes up in later rounds may take the driver's next 2 MiB.
  const Memory start = Memory::now();
  const std::vector<TokenId> first = long_answer(engine, 2, [] {});
  const Memory before = Memory::now();
  Memory most = before;
  for (const std::uint64_t round : {3, 4}) {
    const std::vector<TokenId> again = long_answer(engine, round, [&] {
      const Memory m = Memory::now();
      most = {std::max(most.device, m.device), std::max(most.host, m.host)};
    });
    EXPECT_EQ(std::ssize(again), kTokens);
    EXPECT_EQ(first, again) << "other neighbours, the same answer";
  }
  const Memory after = Memory::now();
  EXPECT_EQ(failed_, 0);
  EXPECT_EQ(engine.active(), 0);
  EXPECT_LE(most.device - before.device, 4 * kMebi);
  EXPECT_LE(most.host - before.host, 8 * kMebi);
  std::printf(
      "  soak: %ld tokens three times beside %ld requests of %ld tokens; GPU %ld MiB before, +%ld in the first round, "
      "+%ld "
      "at "
      "most in the others; host %ld MiB, +%ld, +%ld, at the end +%ld\n",
      long(kTokens), long(requests_), long(tokens_), long(start.device / kMebi),
      long((before.device - start.device) / kMebi), long((most.device - before.device) / kMebi),
      long(start.host / kMebi), long((before.host - start.host) / kMebi), long((most.host - before.host) / kMebi),
      long((after.host - before.host) / kMebi));
}

}  // namespace
}  // namespace strata::gpu_check
