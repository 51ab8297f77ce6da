// Host memory of the CPU backend.
#pragma once

#include "backend/backend.h"

namespace strata {

/// From this size on memory is mapped: the kernel's zeros come page by page, from the thread that first writes there.
inline constexpr std::int64_t kMappedBytes = std::int64_t{128} << 10;
inline constexpr std::int64_t kHugePageBytes = std::int64_t{2} << 20;

/// Zeroed and 256-aligned; in huge pages from 2 MiB on. Throws Error{out_of_memory} with the bytes asked for.
Buffer allocate_host(std::int64_t bytes);

/// The same in parts of large blocks: neighbours share huge pages, and a weight's end costs no small ones. A block goes
/// when the last of its parts does. Not thread-safe.
class HostArena {
 public:
  Buffer take(std::int64_t bytes);

 private:
  Buffer block_;
  std::int64_t size_ = 0, used_ = 0;
};

}  // namespace strata
