// The choice of tokens: the largest logit, or one draw from softmax(logits * scale), with sample_row's bits.
#pragma once

#include <cstdint>

#include "backend/cuda/kernels/launch.h"

namespace strata::cuda {

inline constexpr int kMostTops = 20;

/// How one row is sampled.
struct SampleRow {
  enum class Choice : std::int32_t { greedy, draw, made };  // made: on the host, and only to be put in place
  Choice choice = Choice::greedy;
  std::int32_t slot = -1;  // that remembers the token; -1: none
  float scale = 0, uniform = 0;
  std::int32_t token = 0;  // made
  float logprob = 0;
  std::int32_t tops = 0;
  std::int32_t top_ids[kMostTops];
  float top_logprobs[kMostTops];
};

struct SampleOutput {
  std::int32_t* tokens = nullptr;
  float* logprobs = nullptr;
  std::int32_t* top_ids = nullptr;
  float* top_logprobs = nullptr;
  std::int64_t tokens_stride = 1, logprobs_stride = 1, top_ids_stride = kMostTops, top_logprobs_stride = kMostTops;
};

/// Floats of `maxima` a row of `vocab` logits needs; the last says whether all are finite.
std::int64_t sample_maxima(std::int64_t vocab);

/// rows: on the GPU. last_tokens: by slot.
void sample(const Launch& to, const SampleRow* rows, std::int64_t count, const float* logits,
            std::int64_t logits_stride, std::int64_t vocab, float* maxima, std::int32_t* last_tokens,
            const SampleOutput& out);

}  // namespace strata::cuda
