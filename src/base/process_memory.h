// The memory of this process, as the kernel counts it.
#pragma once

#include <cstdint>

namespace strata {

/// In bytes; 0 where the system doesn't say.
struct ProcessMemory {
  std::int64_t mapped = 0, resident = 0;
};

ProcessMemory process_memory();

}  // namespace strata
