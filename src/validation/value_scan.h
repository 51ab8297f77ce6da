// Looks at every value of every tensor for those that no weight may have.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/safetensors.h"

namespace strata {

/// What is wrong with the values of one tensor.
struct ScanResult {
  const TensorEntry* tensor = nullptr;
  bool block_scales = false;
  std::int64_t bad = 0, first = 0;  // how many, and the index of the first
  std::string error;                // instead, if it can't be read
  std::string sentence() const;
};

/// The tensors that have NaN or infinite values, or block scales (F8_E4M3 `*.weight_scale` with rows and columns) that
/// are NaN or have a sign; in order. Only BF16, F16, F32 and F8_E4M3 are looked at. Reads them once, with all threads.
std::vector<ScanResult> scan_values(std::span<const TensorEntry> tensors, ThreadPool& pool);

}  // namespace strata
