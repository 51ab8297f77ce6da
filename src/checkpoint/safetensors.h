// The safetensors container: a JSON header that says where every tensor's bytes lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/stored.h"

namespace strata {

/// Every element type that the format knows; few of them are weights that Strata computes with.
enum class StoredType : std::uint8_t {
  BOOL,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  F64,
  I64,
  U64
};

/// As the format spells it: "BF16".
std::string_view name_of(StoredType type);
/// Bytes of one element.
std::int64_t size_of(StoredType type);

/// One tensor of a file: what the header says, and where the bytes are. Nothing has been read.
struct TensorEntry {
  std::string name;
  StoredType type = StoredType::F32;
  std::vector<std::int64_t> shape;
  StoredBytes bytes;

  /// Product of the shape; 1 for rank 0.
  std::int64_t elements() const;
  /// "BF16 [4096, 2688]", for messages.
  std::string description() const;
};

/// Reads the header of a safetensors file and checks all of it: sizes, strict JSON, types, shapes, offsets that begin
/// at 0 and leave neither hole nor overlap, an end that is the file's. Returns the tensors in the order of their names.
/// Throws Error{bad_model} that names the file, the tensor and the rule (the reference implementation's word for it,
/// such as InvalidOffset, stands in the message).
std::vector<TensorEntry> read_safetensors(const std::filesystem::path& path);

/// The same for header bytes in memory (without the 8 bytes of length), for a data section of `data_bytes` that begins
/// at `data_offset` of `file`. `what` begins the messages. The fuzz entry.
std::vector<TensorEntry> parse_safetensors_header(std::string_view header, std::int64_t data_bytes,
                                                  const std::shared_ptr<const File>& file, std::int64_t data_offset,
                                                  std::string_view what);

}  // namespace strata
