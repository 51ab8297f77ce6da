// The choice of tokens, and what a slot remembers of it.
#include "backend/conformance/conformance_weights.h"

namespace strata::conformance {
namespace {

STRATA_CONFORMANCE(SampleConformance);

struct Sampled {
  Array<TokenId> tokens, top_ids;
  Floats logprobs, top_logprobs;
};

Sampled sample(Backend& backend, const Batch& batch, const Floats& logits, std::span<const SamplingRow> rows) {
  const StagedBatch staged = backend.stage(batch);
  const Placed in = place(backend, logits), tokens = place_output<TokenId>(backend, logits.rows, 1),
               logprobs = place_output(backend, logits.rows, 1),
               top_ids = place_output<TokenId>(backend, logits.rows, kMaxTopLogprobs),
               top_logprobs = place_output(backend, logits.rows, kMaxTopLogprobs);
  backend.sample(staged, in, rows, {tokens, logprobs, top_ids, top_logprobs});
  return {fetch<TokenId>(backend, tokens), fetch<TokenId>(backend, top_ids), fetch(backend, logprobs),
          fetch(backend, top_logprobs)};
}

/// One logit row a sequence, of one token each.
Sampled sample(Backend& backend, const Floats& logits, std::span<const SamplingRow> rows, std::int32_t first_slot = 0) {
  std::vector<TokenId> tokens(rows.size());
  std::vector<SequenceRows> sequences;
  std::vector<std::int32_t> logit_rows;
  for (std::int32_t r = 0; r < std::int32_t(rows.size()); ++r) {
    sequences.push_back({r, 1, 5, first_slot + r, {}});
    logit_rows.push_back(r);
  }
  return sample(backend, {tokens, sequences, logit_rows}, logits, rows);
}

/// Wishes of every kind.
std::vector<SamplingParameters> wishes() {
  std::vector<SamplingParameters> all(8);
  all[1].temperature = 1;
  all[2].temperature = 0.7f, all[2].top_k = 5;
  all[3].temperature = 1.3f, all[3].top_p = 0.6f, all[3].logprobs = true;
  all[4].temperature = 1, all[4].min_p = 0.1f, all[4].top_logprobs = kMaxTopLogprobs;
  all[5].top_logprobs = 3, all[5].logit_bias = {{2, 100.0f}};
  all[6].temperature = 0.9f, all[6].repetition_penalty = 1.5f, all[6].presence_penalty = 0.5f,
  all[6].frequency_penalty = 0.25f;
  all[7].temperature = 2, all[7].top_k = 40, all[7].top_p = 0.9f, all[7].min_p = 0.01f;
  for (std::size_t i = 0; i < all.size(); ++i) all[i].seed = 1234 + i;
  return all;
}

TEST_P(SampleConformance, ChoosesAsSampleRowDoes) {
  const std::vector<SamplingParameters> parameters = wishes();
  const std::vector<TokenId> prompt = {0, 1, 1, 6}, answer = {3, 3, 6};
  for (const std::int64_t vocab : {7, 33, 1000}) {
    for (std::uint64_t position = 0; position < 20; ++position) {
      SCOPED_TRACE(std::to_string(vocab) + " tokens, position " + std::to_string(position));
      const Floats logits = random(8, vocab, std::uint32_t(position), 3);
      std::vector<SamplingRow> rows;
      for (const SamplingParameters& p : parameters) rows.push_back({&p, position, prompt, answer});
      const Sampled found = sample(backend(), logits, rows);
      for (std::int64_t r = 0; r < 8; ++r) {
        std::vector<TokenId> ids(kMaxTopLogprobs);
        std::vector<float> logprobs(kMaxTopLogprobs);
        const SampledToken expected =
            sample_row({&logits.at(r, 0), std::size_t(vocab)}, rows[std::size_t(r)], ids, logprobs);
        EXPECT_EQ(found.tokens.at(r, 0), expected.token) << "wish " << r;
        EXPECT_NEAR(found.logprobs.at(r, 0), expected.logprob, 1e-5) << "wish " << r;
        for (std::int64_t i = 0; i < parameters[std::size_t(r)].top_logprobs; ++i) {
          EXPECT_EQ(found.top_ids.at(r, i), ids[std::size_t(i)]);
          if (ids[std::size_t(i)] >= 0)
            EXPECT_NEAR(found.top_logprobs.at(r, i), logprobs[std::size_t(i)], 1e-5);
          else
            EXPECT_EQ(found.top_logprobs.at(r, i), logprobs[std::size_t(i)]);
        }
      }
    }
  }
}

TEST_P(SampleConformance, AWholeVocabularyIsChosenFrom) {
  constexpr std::int64_t kVocab = 131075;
  const Floats logits = random(5, kVocab, 9, 3);
  std::vector<SamplingParameters> parameters(5);
  for (std::size_t i = 1; i < 5; ++i) parameters[i].temperature = 0.5f * float(i), parameters[i].seed = i;
  std::vector<SamplingRow> rows;
  for (const SamplingParameters& p : parameters) rows.push_back({&p, 3});
  const Sampled found = sample(backend(), logits, rows);
  for (std::int64_t r = 0; r < 5; ++r) {
    const SampledToken expected = sample_row({&logits.at(r, 0), std::size_t(kVocab)}, rows[std::size_t(r)], {}, {});
    EXPECT_EQ(found.tokens.at(r, 0), expected.token) << r;
    EXPECT_NEAR(found.logprobs.at(r, 0), expected.logprob, 1e-4) << r;
  }
}

TEST_P(SampleConformance, GreedyTakesTheLowestIdAmongEqualsAndNoNan) {
  const float nan = std::nanf("");
  Floats logits(4, 33, -1.0f);
  logits.at(0, 9) = logits.at(0, 31) = 2;
  logits.at(1, 0) = nan, logits.at(1, 32) = 1;
  for (std::int64_t c = 0; c < 33; ++c) logits.at(3, c) = nan;
  const SamplingParameters greedy;
  const std::vector<SamplingRow> rows(4, {&greedy, 0});
  EXPECT_EQ(sample(backend(), logits, rows).tokens.values, (std::vector<TokenId>{9, 32, 0, 0}));
}

TEST_P(SampleConformance, MasksAndGivenTokensAreAsInSampleRow) {
  std::vector<SamplingParameters> parameters = wishes();
  for (const std::int64_t vocab : {7, 33, 1000}) {
    SCOPED_TRACE(std::to_string(vocab) + " tokens");
    const Floats logits = random(8, vocab, 5, 3);
    std::vector<std::uint32_t> mask(std::size_t(vocab + 31) / 32);
    for (std::int64_t t = 1; t < vocab; t += 3) mask[std::size_t(t / 32)] |= 1u << t % 32;
    std::vector<SamplingRow> rows;
    for (const SamplingParameters& p : parameters) rows.push_back({&p, 9, {}, {}});
    for (const std::size_t masked : {1, 2, 4, 5, 7}) rows[masked].allowed = mask;
    rows[0].given = rows[3].given = 6;
    const Sampled found = sample(backend(), logits, rows);
    for (std::int64_t r = 0; r < 8; ++r) {
      std::vector<TokenId> ids(kMaxTopLogprobs);
      std::vector<float> logprobs(kMaxTopLogprobs);
      const SampledToken expected =
          sample_row({&logits.at(r, 0), std::size_t(vocab)}, rows[std::size_t(r)], ids, logprobs);
      EXPECT_EQ(found.tokens.at(r, 0), expected.token) << "wish " << r;
      EXPECT_NEAR(found.logprobs.at(r, 0), expected.logprob, 1e-5) << "wish " << r;
      if (!rows[std::size_t(r)].allowed.empty()) {
        EXPECT_EQ(found.tokens.at(r, 0) % 3, 1);
      }
    }
  }
}

TEST_P(SampleConformance, ABadLogitMakesTheLogprobNaNAndNoOtherRows) {
  const SamplingParameters greedy;
  for (const std::int64_t vocab : {7, 33, 1000}) {
    Floats logits = random(6, vocab, 5, 3);
    logits.at(1, vocab - 1) = std::nanf("");
    logits.at(3, 0) = std::numeric_limits<float>::infinity();
    logits.at(4, vocab / 2) = -std::numeric_limits<float>::infinity();
    const std::vector<SamplingRow> rows(6, {&greedy, 0});
    const Sampled found = sample(backend(), logits, rows);
    for (std::int64_t r = 0; r < 6; ++r)
      EXPECT_EQ(std::isnan(found.logprobs.at(r, 0)), r == 1 || r == 3 || r == 4) << r;
  }
}

TEST_P(SampleConformance, ADrawStandsAlone) {
  const std::vector<SamplingParameters> parameters = wishes();
  const Floats logits = random(8, 333, 3, 2);
  std::vector<SamplingRow> rows;
  for (const SamplingParameters& p : parameters) rows.push_back({&p, 77});
  expect_rows_stand_alone(GetParam(), 8, [&](Backend& be, std::int64_t first, std::int64_t count) {
    if (count == 0) return Array<TokenId>();
    return sample(be, logits.slice(first, count), std::span(rows).subspan(std::size_t(first), std::size_t(count)),
                  std::int32_t(8 - count - first % (9 - count)))
        .tokens;
  });
}

Floats embed_last(Backend& backend, const LinearWeight& w, const std::vector<SequenceRows>& sequences,
                  const std::vector<TokenId>& tokens) {
  const auto table = backend.load_linear({&w, 1});
  const Placed out = place_output(backend, std::ssize(tokens), in_features(w));
  backend.embed(backend.stage({tokens, sequences, {}}), *table, out);
  return fetch(backend, out);
}

TEST_P(SampleConformance, ASlotRemembersItsLastRowsTokenUntilTheNextChoice) {
  const SamplingParameters greedy;
  Floats logits(4, 17);
  logits.at(0, 3) = logits.at(1, 16) = logits.at(2, 5) = logits.at(3, 9) = 1;
  // Sequences in slots 6, 1 and 4; the second wants no logits, the first those of two rows.
  const std::vector<TokenId> tokens(7);
  const SequenceRows sequences[] = {{0, 3, 0, 6, {}}, {3, 2, 9, 1, {}}, {5, 2, 4, 4, {}}};
  const std::int32_t logit_rows[] = {0, 2, 5, 6};
  const std::vector<SamplingRow> rows(4, {&greedy, 0});
  sample(backend(), {tokens, sequences, logit_rows}, logits, rows);
  for (const std::string& format : formats()) {
    SCOPED_TRACE(format);
    const LinearWeight w = random_weight(format, 17, 32, 8);
    const Floats table = decoded(w);
    // Another order, and a slot's neighbours: a sequence that was not sampled for gives its tokens itself.
    const Floats found = embed_last(backend(), w, {{0, 1, 6, 4, {}}, {1, 2, 11, 1, {}}, {3, 1, 3, 6, {}}},
                                    {kTokenOfLastStep, 2, 14, kTokenOfLastStep});
    expect_same_bits(found.slice(0, 1), table.slice(9, 1));
    expect_same_bits(found.slice(1, 1), table.slice(2, 1));
    expect_same_bits(found.slice(2, 1), table.slice(14, 1));
    expect_same_bits(found.slice(3, 1), table.slice(16, 1));
  }
  Floats next(1, 17);
  next.at(0, 11) = 1;
  sample(backend(), next, std::span(rows).first(1), 4);
  const LinearWeight w = random_weight("bf16", 17, 7, 9);
  const Floats found =
      embed_last(backend(), w, {{0, 1, 7, 4, {}}, {1, 1, 3, 6, {}}}, {kTokenOfLastStep, kTokenOfLastStep});
  expect_same_bits(found.slice(0, 1), decoded(w).slice(11, 1));
  expect_same_bits(found.slice(1, 1), decoded(w).slice(16, 1));
}

}  // namespace
}  // namespace strata::conformance
