// What `strata inspect` tells of a checkpoint: facts from headers and tokenizer files.
#pragma once

#include <filesystem>

#include "base/json.h"

namespace strata {

/// Everything that `inspect --json` prints: "model", "architecture", "layers", "files", "quantisation", "memory",
/// "template", "tokenizer", "problems", and with `tensors` "tensors". Reads headers, scales and small tensors only.
/// Throws Error{bad_model} for a checkpoint or configuration that can't be read at all; what else is wrong is listed.
Json checkpoint_facts(const std::filesystem::path& folder, bool tensors);

}  // namespace strata
