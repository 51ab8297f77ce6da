// Holds a checkpoint's files to their format and to the model that config.json describes: every tensor, every value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/thread_pool.h"

namespace strata {

struct FilesReport {
  std::int64_t tensors = 0, bytes = 0;  // of the checkpoint
  std::int64_t mtp_tensors = 0;         // of multi-token prediction: not run, but scanned
  std::vector<std::string> problems;    // all of them, a sentence each
  std::vector<std::string> notes;       // what is odd but harmless
};

/// Headers, offsets and shards against the index; each tensor of the model with its shape and type, used once; declared
/// against found quantisation; scales finite and above 0, block scales without NaN or sign; no NaN or infinity in any
/// BF16, F16, F32 or FP8 tensor. Throws for nothing that is wrong with the files.
FilesReport check_files(const std::filesystem::path& folder, ThreadPool& pool);

}  // namespace strata
