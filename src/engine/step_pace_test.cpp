// Claims about how much of a prompt a step may have.
#include "engine/step_pace.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

constexpr StepPace::Duration kMillisecond{0.001};

/// A machine on which a step of decodes takes `decode` and a prompt's token adds `token`; the size that a step settles
/// at.
std::int64_t settled(StepPace& pace, StepPace::Duration decode, StepPace::Duration token) {
  for (int i = 0; i < 100; ++i) pace.learn(0, decode);
  for (int i = 0; i < 100; ++i) {
    const std::int64_t tokens = pace.prompt_tokens();
    pace.learn(tokens, decode + static_cast<double>(tokens) * token);
  }
  return pace.prompt_tokens();
}

TEST(StepPace, AStepTakesWhatItShould) {
  for (const double token_ms : {0.02, 0.1, 0.3}) {
    StepPace pace(1 << 20);
    const std::int64_t tokens = settled(pace, 0.5 * kMillisecond, token_ms * kMillisecond);
    EXPECT_NEAR(static_cast<double>(tokens) * token_ms + 0.5, StepPace::kTarget.count() * 1000, token_ms + 0.01);
  }
}

TEST(StepPace, WhereDecodesTakeLongPromptsGetOnAllTheSame) {
  StepPace pace(1 << 20);
  const std::int64_t tokens = settled(pace, 50 * kMillisecond, 1 * kMillisecond);
  EXPECT_NEAR(static_cast<double>(tokens) + 50, 50 * StepPace::kDecodes, 1.5);
}

TEST(StepPace, StaysWithinItsBounds) {
  StepPace pace(100);
  EXPECT_EQ(pace.prompt_tokens(), StepPace::kFirst) << "before anything is known";
  EXPECT_EQ(settled(pace, kMillisecond, 1e-9 * kMillisecond), 100);
  EXPECT_EQ(settled(pace, kMillisecond, 100 * kMillisecond), StepPace::kLeast);
  EXPECT_EQ(StepPace(5).prompt_tokens(), 5);
}

TEST(StepPace, LearnsFromPromptsThatRunAlone) {
  StepPace pace(1 << 20);
  pace.learn(512, 512 * 0.01 * kMillisecond);
  EXPECT_NEAR(static_cast<double>(pace.prompt_tokens()), 700, 1);
}

TEST(StepPace, OneSlowStepChangesLittle) {
  StepPace pace(1 << 20);
  const std::int64_t before = settled(pace, 0.5 * kMillisecond, 0.1 * kMillisecond);
  pace.learn(before, 1000 * kMillisecond);
  EXPECT_GT(pace.prompt_tokens(), before * 3 / 4);
}

}  // namespace
}  // namespace strata
