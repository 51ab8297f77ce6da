#include "state/state_layout.h"

namespace strata {

std::int64_t StateLayout::conv_bytes() const {
  std::int64_t bytes = 0;
  for (const MambaStateShape& m : shape.mamba) bytes += m.conv_channels * (m.conv_width - 1) * size_of(types.conv);
  return bytes;
}

std::int64_t StateLayout::ssm_bytes() const {
  std::int64_t bytes = 0;
  for (const MambaStateShape& m : shape.mamba) bytes += m.heads * m.head_dim * m.state_size * size_of(DType::f32);
  return bytes;
}

std::int64_t StateLayout::kv_bytes_per_token() const {
  std::int64_t bytes = 0;
  for (const KvShape& a : shape.attention) bytes += 2 * a.heads * a.head_dim * size_of(types.kv);
  return bytes;
}

}  // namespace strata
