#include "server/generation/answer_constraints.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer kTokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  return kTokenizer;
}

class Mask {
 public:
  Mask() : words_(mask_words(tokenizer().vocab_size()), ~0U) {}
  std::span<std::uint32_t> words() { return words_; }
  bool has(TokenId t) const { return (words_[static_cast<std::size_t>(t) / 32] >> (t % 32) & 1) != 0; }
  int count() const {
    int n = 0;
    for (const auto word : words_) n += __builtin_popcount(word);
    return n;
  }

 private:
  std::vector<std::uint32_t> words_;
};

std::vector<TokenId> encode(const char* text) { return tokenizer().encode(text, {.post_process = false}); }

/// The only token that may come next; -1 if there is a choice.
TokenId forced(TokenConstraint& constraint) {
  Mask mask;
  if (!constraint.restrict(mask.words())) return -1;
  if (mask.count() != 1) return -1;
  for (TokenId t = 0; t < tokenizer().vocab_size(); ++t)
    if (mask.has(t)) return t;
  return -1;
}

TEST(ThinkingBudgetTest, ThinkingEndsAtTheNextLineEnd) {
  const Marks marks(tokenizer());
  ThinkingBudget budget(tokenizer(), marks, 2);
  const TokenId word = encode("the")[0], line_end = encode("\n")[0];
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(forced(budget), -1);
    budget.accept(word);
  }
  EXPECT_FALSE(budget.used());
  budget.accept(line_end);
  EXPECT_EQ(forced(budget), *marks.token(Mark::think_end));
  budget.accept(*marks.token(Mark::think_end));
  EXPECT_EQ(forced(budget), -1);
  EXPECT_TRUE(budget.used());
}

TEST(ThinkingBudgetTest, ThinkingWithoutLineEndsIsClosedAfterTheGrace) {
  const Marks marks(tokenizer());
  ThinkingBudget budget(tokenizer(), marks, 4);
  const TokenId word = encode("the")[0];
  std::int64_t tokens = 0;
  while (forced(budget) < 0 && tokens < 100) {
    budget.accept(word);
    ++tokens;
  }
  EXPECT_EQ(tokens, 4 + ThinkingBudget::grace(4));
  std::vector<TokenId> closing = encode(".\n");
  closing.push_back(*marks.token(Mark::think_end));
  for (const TokenId token : closing) {
    EXPECT_EQ(forced(budget), token);
    budget.accept(token);
  }
  EXPECT_EQ(forced(budget), -1);
}

TEST(ThinkingBudgetTest, BudgetOfNothingClosesAtOnceAndAnEndedThinkingIsLeftAlone) {
  const Marks marks(tokenizer());
  ThinkingBudget none(tokenizer(), marks, 0);
  EXPECT_EQ(forced(none), *marks.token(Mark::think_end));
  ThinkingBudget ended(tokenizer(), marks, 1);
  ended.accept(*marks.token(Mark::think_end));
  for (int i = 0; i < 100; ++i) ended.accept(encode("\n")[0]);
  EXPECT_EQ(forced(ended), -1);
  EXPECT_FALSE(ended.used());
}

TEST(ForbiddenTokensTest, TokensAreForbiddenForAsLongAsAsked) {
  ForbiddenTokens constraint({2, 11}, 2);
  for (int i = 0; i < 2; ++i) {
    Mask mask;
    EXPECT_TRUE(constraint.restrict(mask.words()));
    EXPECT_FALSE(mask.has(2) || mask.has(11));
    EXPECT_TRUE(mask.has(3));
    constraint.accept(5);
  }
  Mask mask;
  EXPECT_FALSE(constraint.restrict(mask.words()));
}

/// Allows one token, ever.
class Only final : public TokenConstraint {
 public:
  explicit Only(TokenId token) : token_(token) {}
  bool restrict(std::span<std::uint32_t> allowed) override {
    std::fill(allowed.begin(), allowed.end(), 0);
    allowed[static_cast<std::size_t>(token_) / 32] = 1U << (token_ % 32);
    return true;
  }
  void accept(TokenId) override {}

 private:
  TokenId token_;
};

TEST(FormOrCallsTest, CallLiftsTheFormWhereTheAnswerBegins) {
  const Marks marks(tokenizer());
  const TokenId word = encode("the")[0], call = *marks.token(Mark::call_begin);
  FormOrCalls calls(std::make_unique<Only>(word), tokenizer(), marks, false);
  Mask mask;
  calls.restrict(mask.words());
  EXPECT_TRUE(mask.has(word) && mask.has(call));
  EXPECT_EQ(mask.count(), 2);
  calls.accept(call);
  Mask free;
  EXPECT_FALSE(calls.restrict(free.words()));
}

TEST(FormOrCallsTest, OnceTheAnswerHasBegunItKeepsItsForm) {
  const Marks marks(tokenizer());
  const TokenId word = encode("the")[0];
  FormOrCalls calls(std::make_unique<Only>(word), tokenizer(), marks, true);
  EXPECT_EQ(forced(calls), word) << "no call inside the thinking";
  calls.accept(*marks.token(Mark::think_end));
  EXPECT_EQ(forced(calls), -1);
  calls.accept(word);
  EXPECT_EQ(forced(calls), word);
}

}  // namespace
}  // namespace strata
