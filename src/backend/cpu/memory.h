// Host memory of the CPU backend.
#pragma once

#include "backend/backend.h"

namespace strata {

/// Zeroed and 256-aligned; in huge pages from 2 MiB on. Throws Error{out_of_memory} with the bytes asked for.
Buffer allocate_host(std::int64_t bytes);

}  // namespace strata
