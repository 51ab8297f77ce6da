// How long a checkpoint takes from its files to the first token.
#pragma once

#include <string>

namespace strata::gpu_check {

/// Opens the folder's checkpoint, loads it and answers a prompt of 16 tokens with one; prints the time of each part and
/// whether the first token is finite and came within `bar` seconds. True if so.
bool load(const std::string& folder, double bar);

}  // namespace strata::gpu_check
