#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace strata {

File::File(std::filesystem::path path, int fd, std::int64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}

File File::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO must fail below, not wait for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw Error(ErrorCode::bad_model, path.string() + ": can't be opened: " + std::strerror(errno));
  struct stat info {};
  const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  File file(path, fd, regular ? info.st_size : 0);
  if (!regular) throw Error(ErrorCode::bad_model, path.string() + ": expected a regular file");
  return file;
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

void File::read(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::bad_model, path_.string() + ": can't be read: " + std::strerror(errno));
    if (got == 0)
      throw Error(ErrorCode::bad_model, path_.string() + ": ends at byte " + std::to_string(offset) + ", " +
                                            std::to_string(out.size()) +
                                            " more were expected; was it changed or cut while it was read?");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

std::string read_text(const std::filesystem::path& path, std::int64_t max_bytes) {
  const File file = File::open(path);
  if (file.size() > max_bytes)
    throw Error(ErrorCode::bad_model, path.string() + ": has " + std::to_string(file.size()) + " bytes; at most " +
                                          std::to_string(max_bytes) + " are read");
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace strata
