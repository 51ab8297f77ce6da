// Files read with pread: a mapped file that shrinks would kill the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace strata {

/// An open regular file; move-only, closed when it dies.
class File {
 public:
  /// Throws Error{bad_model} if the path is missing, unreadable or no regular file (FIFOs and devices could hang).
  static File open(const std::filesystem::path& path);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::filesystem::path& path() const { return path_; }
  /// Bytes, as they were when the file was opened.
  std::int64_t size() const { return size_; }
  /// Fills `out` from `offset`; thread-safe. Throws Error{bad_model} if the file ends before.
  void read(std::int64_t offset, std::span<std::byte> out) const;

 private:
  File(std::filesystem::path path, int fd, std::int64_t size);
  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t size_ = 0;
};

/// A whole file as a string; Error{bad_model} if it is larger than `max_bytes`.
std::string read_text(const std::filesystem::path& path, std::int64_t max_bytes);

}  // namespace strata
