// Writes a safetensors file of any size without holding its tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace strata {

/// Writes tensors of a safetensors file one after the other, none held in memory: names, types and shapes are declared
/// first, then the bytes are appended in that order, in pieces of any size. The file stands at its path only when all
/// of it is written; until finish() it is called path + ".partial", which the destructor removes.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    StoredType type = StoredType::F32;
    std::vector<std::int64_t> shape;
  };

  /// Opens the file and writes the header. Throws Error{failure} if the disk does not let it, or if the sizes add up
  /// to 2^63 bytes. Names must differ and be valid UTF-8, sizes not be negative.
  SafetensorsWriter(std::filesystem::path path, const std::vector<Tensor>& tensors,
                    const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// The next bytes, at most as many as were declared. Throws Error{failure} on a write error.
  void append(std::span<const std::byte> bytes);
  /// Gives the file its name; all declared bytes must have been appended. Throws Error{failure} on a write error.
  void finish();

 private:
  explicit SafetensorsWriter(std::filesystem::path path);
  void write(std::span<const std::byte> bytes);
  void flush();
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_, partial_;
  int fd_ = -1;
  std::int64_t declared_ = 0, appended_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace strata
