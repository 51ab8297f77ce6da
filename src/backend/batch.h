// One step's work: a ragged batch of tokens from several sequences.
#pragma once

#include <cstdint>
#include <span>

#include "base/token.h"

namespace strata {

/// One sequence's new tokens in a step. Prefill, a chunk of it and decode differ only in `count`.
struct SequenceRows {
  std::int64_t first_row = 0;           // of its tokens in the batch's matrices
  std::int64_t count = 0;               // >= 1
  std::int64_t position = 0;            // of its first new token within the sequence
  std::int32_t slot = 0;                // of its recurrent state
  std::span<const std::int32_t> pages;  // of its keys and values, oldest first
};

/// In Batch::tokens: the token that the last `sample` chose for this sequence's slot. So a step can be enqueued
/// before the last one's tokens are known on the host.
inline constexpr TokenId kTokenOfLastStep = -1;

/// What it refers to must live until the step has been enqueued.
struct Batch {
  std::span<const TokenId> tokens;
  std::span<const SequenceRows> sequences;   // in the order of their rows, which they cover without gaps
  std::span<const std::int32_t> logit_rows;  // the rows whose logits are wanted, ascending
};

}  // namespace strata
