#include "base/process_memory.h"

#include <unistd.h>

#include <fstream>

namespace strata {

ProcessMemory process_memory() {
  std::int64_t mapped = 0, resident = 0;  // in pages
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  return {mapped * page, resident * page};
}

}  // namespace strata
