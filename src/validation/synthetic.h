// Writes checkpoints of random weights, so that loading and speed can be measured without a download.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace strata {

struct SyntheticOptions {
  std::uint64_t seed = 0;
  std::int64_t shard_bytes = std::int64_t{4} << 30;  // a larger checkpoint is split
  int threads = 0;                                   // 0: as many as this process may run on
  bool replace = false;                              // whether a checkpoint in the folder may be overwritten
  std::function<void(std::int64_t done, std::int64_t total)> progress{};
};

struct SyntheticSummary {
  std::int64_t tensors = 0, shards = 0, bytes = 0;  // bytes: of the tensors
};

/// Writes model.safetensors, or shards and their index, for the config.json and hf_quant_config.json in `config_dir`,
/// and copies those and what there is of tokenizer and generation files. config.json comes last, so an interrupted
/// folder is none of a model. The same bytes for the same seed and configuration, whatever the threads and shards.
/// Throws Error{usage} if `out_dir` holds a checkpoint that may not be replaced, Error{failure} if the disk hasn't the
/// room, Error{bad_model} for a bad configuration.
SyntheticSummary write_synthetic_checkpoint(const std::filesystem::path& config_dir,
                                            const std::filesystem::path& out_dir, const SyntheticOptions& options);

}  // namespace strata
