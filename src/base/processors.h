// The processors that this process may run on.
#pragma once

#include <vector>

namespace strata {

/// Their numbers as the system counts them: one of each core before the second of any. They are those of the first
/// call, which comes before any thread is pinned; empty if the system doesn't say.
const std::vector<int>& processors();

/// Lets the calling thread, and those that it starts from now on, run on this processor only; false if that can't be.
bool pin_to_processor(int processor);

}  // namespace strata
