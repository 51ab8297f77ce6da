// The law on a model of random weights whose shapes the kernels for single tokens take, as the tiny fixtures' often are
// not: a token decoded has the bits it has in a prompt, alone or among neighbours, at a chunk's borders, and however
// its kernels are launched.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/single_steps.h"
#include "tools/gpu_check/device_weights.h"
#include "tools/gpu_check/mid_model.h"
#include "validation/model_runner.h"

namespace strata::gpu_check {
namespace {

class SingleTokens : public MidTest, public testing::WithParamInterface<DType> {};

constexpr std::int64_t kSteps = 3;

std::vector<TokenId> random_tokens(std::int64_t vocab, std::int64_t length) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(length));
  std::uint32_t random = 1;
  for (TokenId& t : tokens)
    t = static_cast<TokenId>((random = random * 1664525 + 1013904223) / 7 % std::uint32_t(vocab));
  return tokens;
}

/// Tokens at each of `places`, ascending, and behind it: alone, and in steps of as many sequences as `counts` says.
void check(DType kv_type, const std::vector<std::int64_t>& places, const std::vector<std::size_t>& counts) {
  const std::int64_t length = places.back() + kSteps;
  CudaBackend backend;
  const auto model = mid_model(backend);
  const auto most = static_cast<std::int64_t>(*std::max_element(counts.begin(), counts.end()));
  ModelRunner runner(*model, backend,
                     {.tokens = 256, .sequences = most + 1, .context = length + 1, .kv_type = kv_type});
  const std::vector<TokenId> tokens = random_tokens(model->vocab_size(), length);
  const std::span<const TokenId> all(tokens);

  // The logits of every place, from one prompt.
  std::map<std::int64_t, Logits> expected;
  {
    SequenceState state = runner.fresh();
    for (std::int64_t at = 0; at < length;) {
      const std::int64_t n = std::min<std::int64_t>(200, length - at);
      const Logits logits = runner.feed(state, all.subspan(std::size_t(at), std::size_t(n)), 200);
      for (std::int64_t i = 0; i < n; ++i)
        for (const std::int64_t place : places)
          if (at + i >= place && at + i < place + kSteps) {
            const auto row = logits.row(i);
            expected[at + i] = {1, logits.vocab, {row.begin(), row.end()}};
          }
      at += n;
    }
  }
  std::vector<SequenceState> states;
  const auto started = [&](std::int64_t place) {
    SequenceState state = runner.fresh();
    if (place > 0) runner.feed(state, all.first(std::size_t(place)), 256);
    return state;
  };
  for (const std::int64_t place : places) {
    SequenceState state = started(place);
    for (std::int64_t i = place; i < place + kSteps; ++i)
      EXPECT_TRUE(runner.feed(state, all.subspan(std::size_t(i), 1), 1).same_bits(expected[i])) << "alone at " << i;
  }
  for (const std::size_t count : counts) {
    std::vector<SequenceState> neighbours;
    std::vector<std::int64_t> from;
    for (std::size_t s = 0; s < count; ++s) {
      from.push_back(places[(s * 7 + count) % places.size()]);
      neighbours.push_back(started(from.back()));
    }
    for (std::int64_t i = 0; i < kSteps; ++i) {
      std::vector<ModelRunner::Work> work;
      for (std::size_t s = 0; s < count; ++s)
        work.push_back({&neighbours[s], all.subspan(std::size_t(from[s] + i), 1)});
      const Logits logits = runner.step(work);
      for (std::size_t s = 0; s < count; ++s) {
        const auto row = logits.row(std::int64_t(s));
        const Logits one{1, logits.vocab, {row.begin(), row.end()}};
        EXPECT_TRUE(one.same_bits(expected[from[s] + i]))
            << "sequence " << s << " of " << count << " at " << from[s] + i;
      }
    }
  }
}

TEST_P(SingleTokens, HaveTheBitsThatTheyHaveInAPrompt) {
  // Before and behind the borders of a page, of a unit and of a block of attention.
  check(GetParam(), {0, 1, 63, 126, 128, 700, 1022, 1024, 2047, 2300}, {2, 3, 8, 9, 20});
}
/// Few, for tools under which everything takes long.
TEST_P(SingleTokens, HaveThemFromTheStart) { check(GetParam(), {0, 1}, {2}); }

INSTANTIATE_TEST_SUITE_P(KeyTypes, SingleTokens, testing::Values(DType::bf16, DType::f8_e4m3),
                         [](const auto& test) { return std::string(test.param == DType::bf16 ? "bf16" : "fp8"); });

class MidModel : public MidTest {};

TEST_F(MidModel, GraphsFusionOverlapAndKernelsOfPromptsChangeNoBit) {
  expect_launching_changes_no_bit("mid-size model", 1200, mid_model);
}

TEST_F(MidModel, PromptsAtTheBordersOfAChunkEndAsSingleTokensDo) {
  CudaBackend backend;
  const auto model = mid_model(backend);
  const std::int64_t chunk = backend.prompt_chunk();
  const std::vector<std::int64_t> lengths = {1, chunk - 1, chunk, chunk + 1, 3 * chunk};
  const std::vector<TokenId> tokens = random_tokens(model->vocab_size(), lengths.back());
  ModelRunner runner(*model, backend, {.tokens = chunk, .sequences = 2, .context = lengths.back()});
  SequenceState single = runner.fresh();
  for (const std::int64_t length : lengths) {
    const std::span<const TokenId> prompt = std::span(tokens).first(static_cast<std::size_t>(length));
    std::vector<float> last;
    for (auto at = static_cast<std::size_t>(single.length()); at < prompt.size(); ++at)
      last = runner.feed(single, prompt.subspan(at, 1), 1).values;
    for (const std::int64_t step : {chunk, chunk / 3 + 1}) {
      SequenceState state = runner.fresh();
      const Logits logits = runner.feed(state, prompt, step);
      const auto row = logits.row(logits.rows - 1);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), last.begin(), last.end()))
          << length << " tokens in steps of " << step;
    }
  }
  std::printf("  mid-size model: prompts of 1, %ld, %ld, %ld and %ld tokens end as token by token\n", long(lengths[1]),
              long(lengths[2]), long(lengths[3]), long(lengths[4]));
}

}  // namespace
}  // namespace strata::gpu_check
