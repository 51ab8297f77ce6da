#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace strata {

void check_failed(const char* condition, const char* file, int line, const char* message) {
  std::fprintf(stderr, "strata: bug at %s:%d: %s (%s)\n", file, line, message, condition);
  std::abort();
}

}  // namespace strata
