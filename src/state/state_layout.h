// What a model's sequences leave behind, in shapes and bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"

namespace strata {

/// A Mamba-2 layer's state: its convolution's last inputs and its SSM state.
struct MambaStateShape {
  std::int64_t conv_channels = 0, conv_width = 0;  // conv_width: taps, so conv_width - 1 inputs are kept
  std::int64_t heads = 0, head_dim = 0, state_size = 0;
};

/// An attention layer's keys and values.
struct KvShape {
  std::int64_t heads = 0, head_dim = 0;
  float k_scale = 1, v_scale = 1;
};

/// The stateful layers of a model, in the order in which its layers index LayerStates.
struct StateShape {
  std::vector<MambaStateShape> mamba;
  std::vector<KvShape> attention;
};

/// Tokens of keys and values in a page. Attention walks key blocks anchored at its multiples.
inline constexpr std::int64_t kPageSize = 64;

/// The shapes in one backend's types. A sequence owns one slot, and one page a kPageSize tokens.
struct StateLayout {
  StateShape shape;
  StateTypes types;

  std::int64_t conv_bytes() const;          // of one slot, all layers
  std::int64_t ssm_bytes() const;           // of one slot, all layers
  std::int64_t kv_bytes_per_token() const;  // all layers
  std::int64_t slot_bytes() const { return conv_bytes() + ssm_bytes(); }
  std::int64_t page_bytes() const { return kv_bytes_per_token() * kPageSize; }
  static std::int64_t pages_for(std::int64_t tokens) { return (tokens + kPageSize - 1) / kPageSize; }
};

/// The state of every layer that keeps one, for all sequences.
struct LayerStates {
  std::vector<ConvState> conv;  // a Mamba-2 layer's conv and ssm stand at the same index
  std::vector<SsmState> ssm;
  std::vector<KvPages> kv;
};

}  // namespace strata
