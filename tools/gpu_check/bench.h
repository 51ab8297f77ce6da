// Speed of a full-size model of random weights, beside what this GPU's memory and matrix unit allow.
#pragma once

#include <string>
#include <vector>

namespace strata::gpu_check {

/// `what`: some of decode, prefill, profile (one eager step, for a profiler) and no-overlap; empty: decode and
/// prefill. With fast: in fast numerics.
/// BATCHES, CONTEXTS, PROMPTS and CHUNK in the environment give other sizes, as 1,8; KV_CACHE=bf16 keeps keys and
/// values in bf16. Prints a table, and JSON to $OUT/cuda.json.
void bench(const std::vector<std::string>& what);

}  // namespace strata::gpu_check
