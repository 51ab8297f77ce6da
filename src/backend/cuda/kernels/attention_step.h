// Attention for single tokens: their keys and values appended, attended to and merged in one kernel.
#pragma once

#include "backend/cuda/kernels/attention.h"

namespace strata::cuda {

/// What append_kv and attention take, sequences of one new token each.
struct AttentionStep {
  ConstRows q, k, v;  // [sequences, heads or key heads * head_dim]
  std::int32_t heads = 0;
  Cache cache;
  float scale = 0;
  std::int32_t blocks = 1;  // at least as many blocks of keys as the longest sequence has
  AttentionParts parts;
  unsigned* arrived = nullptr;  // 0, one a sequence, key head and two of its heads: left as they were
  Rows out;
  RoundedRows rounded;  // without padding
};

/// Counters that `arrived` needs for `sequences` of them.
constexpr std::int64_t attention_counters(std::int64_t sequences, std::int64_t kv_heads) {
  return sequences * kv_heads * 8;
}

/// Whether `attention_step` takes such shapes.
bool fits_attention_step(const AttentionStep& a);
/// Appends and attends, with the bits of append_kv and attention.
void attention_step(const Launch& to, DeviceBatch batch, std::int64_t sequences, const AttentionStep& a);

}  // namespace strata::cuda
