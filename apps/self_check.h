// Whether this build on this machine keeps the law, tried in a moment before it serves.
#pragma once

#include <string>

#include "model/model.h"

namespace strata {

/// A prompt in four chunks and the same prompt whole must have the same logits, bit for bit. Throws Error{gate_failed}
/// if they don't, or are no numbers; says what was compared. Before an engine is made: it takes the backend's scratch.
std::string self_check(const Model& model, Backend& backend, DType kv_type);

}  // namespace strata
