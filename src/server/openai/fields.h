// The numbers that a request may have: one table of names and ranges.
#pragma once

#include <cstdint>

namespace strata {

/// Both ends belong to the range.
struct NumericField {
  const char* name;
  double min, max;
  bool integer;
};

inline constexpr double kInt32Max = 2147483647;

inline constexpr NumericField kTemperature{"temperature", 0, 2, false};
inline constexpr NumericField kTopP{"top_p", 0, 1, false};
inline constexpr NumericField kMinP{"min_p", 0, 1, false};
inline constexpr NumericField kTopK{"top_k", -1, kInt32Max, true};  // -1 and 0: all
inline constexpr NumericField kRepetitionPenalty{"repetition_penalty", 0.01, 10, false};
inline constexpr NumericField kRepeatPenalty{"repeat_penalty", 0.01, 10, false};  // llama.cpp's name for it
inline constexpr NumericField kPresencePenalty{"presence_penalty", -2, 2, false};
inline constexpr NumericField kFrequencyPenalty{"frequency_penalty", -2, 2, false};
inline constexpr NumericField kMaxTokens{"max_tokens", 1, kInt32Max, true};
inline constexpr NumericField kMaxCompletionTokens{"max_completion_tokens", 1, kInt32Max, true};
inline constexpr NumericField kMinTokens{"min_tokens", 0, kInt32Max, true};
inline constexpr NumericField kTopLogprobs{"top_logprobs", 0, 20, true};
inline constexpr NumericField kThinkingTokenBudget{"thinking_token_budget", 0, kInt32Max, true};
inline constexpr NumericField kReasoningBudget{"reasoning_budget", 0, kInt32Max, true};
inline constexpr NumericField kPriority{"priority", -kInt32Max, kInt32Max, true};
inline constexpr NumericField kTimeout{"timeout_ms", 1, 86400000, true};
inline constexpr NumericField kBias{"logit_bias", -100, 100, false};

/// Those of both APIs, whose names stand at the top of a request.
inline constexpr NumericField kCommonNumbers[] = {
    kTemperature,      kTopP,      kMinP,     kTopK,   kRepetitionPenalty, kRepeatPenalty, kPresencePenalty,
    kFrequencyPenalty, kMinTokens, kPriority, kTimeout};

}  // namespace strata
