// Lays out a safetensors header and writes the file behind it through a small buffer.
#include "checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "base/quote.h"

namespace strata {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::size_t kAlignment = 8;  // of the first tensor, as the format asks

std::string shape_json(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(shape[i]);
  return text + "]";
}

/// The header's JSON, padded; `bytes` becomes the size of all tensors.
std::string header_json(const std::vector<SafetensorsWriter::Tensor>& tensors,
                        const std::map<std::string, std::string>& metadata, std::int64_t& bytes,
                        const std::filesystem::path& path) {
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":" + Json(metadata).dump();
  std::unordered_set<std::string_view> names;
  for (const SafetensorsWriter::Tensor& tensor : tensors) {
    CHECK(tensor.name != "__metadata__" && names.insert(tensor.name).second, "every tensor needs a name of its own");
    std::int64_t size = size_of(tensor.type);
    bool overflow = false;
    for (const std::int64_t count : tensor.shape) {
      CHECK(count >= 0, "a dimension is no count");
      overflow |= __builtin_mul_overflow(size, count, &size);
    }
    const std::int64_t begin = bytes;
    if (overflow || __builtin_add_overflow(bytes, size, &bytes))
      throw Error(ErrorCode::failure, path.string() + ": tensor " + in_quotes(tensor.name) +
                                          ": expected sizes that add up to less than 2^63 bytes, found shape " +
                                          shape_json(tensor.shape));
    if (json.size() > 1) json += ',';
    json += Json(tensor.name).dump() + ":{\"dtype\":\"" + std::string(name_of(tensor.type)) +
            "\",\"shape\":" + shape_json(tensor.shape) + ",\"data_offsets\":[" + std::to_string(begin) + "," +
            std::to_string(bytes) + "]}";
  }
  json += '}';
  json.resize((json.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return json;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path)
    : path_(std::move(path)), partial_(path_.string() + ".partial") {
  buffer_.reserve(kBufferBytes);
  fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("created");
}

// Delegates, so that the destructor removes the file if the header can't be made or written.
SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, const std::vector<Tensor>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : SafetensorsWriter(std::move(path)) {
  const std::string header = header_json(tensors, metadata, declared_, path_);
  std::byte length[8];
  for (std::size_t i = 0; i < sizeof(length); ++i) length[i] = static_cast<std::byte>(header.size() >> (8 * i));
  write(length);
  write(std::as_bytes(std::span(header)));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(partial_.c_str());
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  CHECK(static_cast<std::int64_t>(bytes.size()) <= declared_ - appended_, "more bytes than were declared");
  appended_ += static_cast<std::int64_t>(bytes.size());
  write(bytes);
}

void SafetensorsWriter::finish() {
  CHECK(fd_ >= 0 && appended_ == declared_, "finish() comes once, after all declared bytes");
  flush();
  // Some file systems report a full disk only here.
  if (::fsync(fd_) != 0 && errno != EINVAL) fail("written");
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail("put in its place");
  ::close(std::exchange(fd_, -1));
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void SafetensorsWriter::flush() {
  std::span<const std::byte> rest(buffer_);
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("written");
    rest = rest.subspan(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

void SafetensorsWriter::fail(const char* action) const {
  throw Error(ErrorCode::failure, path_.string() + ": can't be " + action + ": " + std::strerror(errno));
}

}  // namespace strata
