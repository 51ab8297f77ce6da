// Names that nobody has had before.
#pragma once

#include <string>

namespace strata {

/// `prefix` and 24 random hex digits.
std::string random_id(const char* prefix);
/// "call_…", of a tool call.
std::string new_call_id();

}  // namespace strata
