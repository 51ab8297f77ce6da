// A Hugging Face model folder: its configuration and its tensors. Knows no model.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "checkpoint/quant_config.h"
#include "checkpoint/safetensors.h"

namespace strata {

class Checkpoint {
 public:
  /// Reads config.json, generation_config.json, hf_quant_config.json and the headers of model.safetensors or of the
  /// shards that model.safetensors.index.json names, and holds them against each other. Reads no weights.
  /// Throws Error{bad_model} that names the file and says what is wrong.
  static Checkpoint open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  /// config.json.
  const Json& config() const { return config_; }
  /// generation_config.json; an empty object if there is none.
  const Json& generation_config() const { return generation_config_; }
  /// hf_quant_config.json's or config.json's declaration; the former if both are there. Contradictions between the two
  /// are in warnings().
  const std::optional<QuantConfig>& quant_config() const { return quant_config_; }

  /// All tensors, in the order of their names.
  std::span<const TensorEntry> tensors() const { return tensors_; }
  /// nullptr if there is none of that name.
  const TensorEntry* find(std::string_view name) const;
  /// Bytes of all safetensors files, headers included.
  std::int64_t file_bytes() const { return file_bytes_; }
  std::int64_t shards() const { return shards_; }
  /// What is odd but harmless, a sentence each.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::filesystem::path folder_;
  Json config_, generation_config_;
  std::optional<QuantConfig> quant_config_;
  std::vector<TensorEntry> tensors_;
  std::int64_t file_bytes_ = 0, shards_ = 0;
  std::vector<std::string> warnings_;
};

}  // namespace strata
