// A matrix where the checkpoint keeps it: bytes that are read only when a backend packs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "tensor/dtype.h"

namespace strata {

/// The bytes of one tensor, in a file or in memory. Cheap to copy; shares what it refers to.
class StoredBytes {
 public:
  StoredBytes() = default;
  /// `size` bytes of `file` from `offset`.
  StoredBytes(std::shared_ptr<const File> file, std::int64_t offset, std::int64_t size)
      : file_(std::move(file)), at_(offset), size_(size) {}
  /// Bytes in memory (tests, values made at load).
  explicit StoredBytes(std::vector<std::byte> bytes)
      : memory_(std::make_shared<const std::vector<std::byte>>(std::move(bytes))),
        size_(static_cast<std::int64_t>(memory_->size())) {}

  std::int64_t size() const { return size_; }
  /// Bytes [at, at + size) of these, sharing what they refer to.
  StoredBytes slice(std::int64_t at, std::int64_t size) const {
    CHECK(0 <= at && 0 <= size && at + size <= size_, "slice outside the tensor");
    StoredBytes part = *this;
    part.at_ += at;
    part.size_ = size;
    return part;
  }
  const File* file() const { return file_.get(); }
  /// Where they begin in the file.
  std::int64_t offset() const { return at_; }

  /// Fills `out` from byte `at` of the tensor; thread-safe. Throws Error{bad_model} if the file got shorter.
  void read(std::int64_t at, std::span<std::byte> out) const {
    CHECK(0 <= at && at + static_cast<std::int64_t>(out.size()) <= size_, "read outside the tensor");
    if (file_) return file_->read(at_ + at, out);
    if (!out.empty()) std::memcpy(out.data(), memory_->data() + at_ + at, out.size());
  }

 private:
  std::shared_ptr<const File> file_;
  std::shared_ptr<const std::vector<std::byte>> memory_;
  std::int64_t at_ = 0, size_ = 0;  // within the file or the memory
};

/// [rows, cols] of `dtype`, row-major without gaps.
struct StoredMatrix {
  StoredBytes bytes;
  DType dtype = DType::f32;
  std::int64_t rows = 0, cols = 0;

  std::int64_t row_bytes() const { return cols * size_of(dtype); }
  /// Rows [begin, begin + count) into `out`.
  void read_rows(std::int64_t begin, std::int64_t count, std::span<std::byte> out) const {
    bytes.read(begin * row_bytes(), out.first(static_cast<std::size_t>(count * row_bytes())));
  }
};

}  // namespace strata
