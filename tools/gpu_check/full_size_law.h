// The law on a full-size model: however a prompt is cut, its last token has the same logits.
#pragma once

#include <string>
#include <vector>

namespace strata::gpu_check {

/// `what`: prefix for prompts of up to 8k against a run token by token; long for 128k tokens in two cuts and with the
/// last 512 one by one; kernels for the kernels of prompts against the plain ones; empty: all. With fast: in fast
/// numerics, where only runs cut alike are held to the same bits and the others' distance is printed. Prints a line a
/// check; returns how many failed.
int full_size_law(const std::vector<std::string>& what);

}  // namespace strata::gpu_check
