// model.safetensors.index.json: which shard holds which tensor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

struct ShardIndex {
  /// File names, sorted; plain names that end in ".safetensors".
  std::vector<std::string> shards;
  struct Entry {
    std::string tensor;
    std::int64_t shard = 0;  // in `shards`
  };
  /// weight_map in the order of the tensors' names.
  std::vector<Entry> tensors;
};

/// Throws Error{bad_model} that begins with `what` if the text is no strict JSON, has no weight_map of strings, names a
/// tensor twice, or names a shard that is no plain file name.
ShardIndex parse_shard_index(std::string_view text, std::string_view what);

}  // namespace strata
