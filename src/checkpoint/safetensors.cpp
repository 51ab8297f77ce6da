// Holds a safetensors header against the bytes that it describes.
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "checkpoint/safetensors_header.h"

namespace strata {
namespace {

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's

std::string offsets(const HeaderTensor& tensor) {
  return "data_offsets [" + std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) + "]";
}

std::string describe(StoredType type, const std::vector<std::int64_t>& shape) {
  std::string text(name_of(type));
  text += " [";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::int64_t checked_bytes(const HeaderTensor& tensor, std::string_view what) {
  std::int64_t bytes = 1;
  bool overflow = false;
  for (const std::int64_t size : tensor.shape) overflow |= __builtin_mul_overflow(bytes, size, &bytes);
  overflow |= __builtin_mul_overflow(bytes, size_of(tensor.type), &bytes);
  if (overflow)
    refuse_safetensors(what, tensor.name, "ValidationOverflow",
                       "expected a size of less than 2^63 bytes, found " + describe(tensor.type, tensor.shape));
  return bytes;
}

void check_names(const std::vector<HeaderTensor>& sorted, std::string_view what) {
  const auto twice =
      std::adjacent_find(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice != sorted.end())
    refuse_safetensors(what, twice->name, "InvalidHeaderDeserialization", "expected every name once, found it twice");
}

void check_extents(const std::vector<HeaderTensor>& tensors, std::int64_t data_bytes, std::string_view what) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tie(tensors[a].begin, tensors[a].end) < std::tie(tensors[b].begin, tensors[b].end);
  });
  std::int64_t at = 0;
  for (const std::size_t i : order) {
    const HeaderTensor& tensor = tensors[i];
    if (tensor.end < tensor.begin)
      refuse_safetensors(what, tensor.name, "InvalidOffset", "expected begin <= end, found " + offsets(tensor));
    if (tensor.begin != at)
      refuse_safetensors(what, tensor.name, "InvalidOffset",
                         "expected it to begin at " + std::to_string(at) + ", where the tensors before it end, found " +
                             offsets(tensor) + (tensor.begin > at ? ", which leaves a hole" : ", which overlaps"));
    const std::int64_t bytes = checked_bytes(tensor, what);
    if (tensor.end - tensor.begin != bytes)
      refuse_safetensors(what, tensor.name, "TensorInvalidInfo",
                         "expected " + std::to_string(bytes) + " bytes for " + describe(tensor.type, tensor.shape) +
                             ", found " + std::to_string(tensor.end - tensor.begin) + " by its " + offsets(tensor));
    at = tensor.end;
  }
  if (at > data_bytes)
    refuse_safetensors(what, order.empty() ? "" : tensors[order.back()].name, "MetadataIncompleteBuffer",
                       "expected " + std::to_string(at) + " bytes of tensors, found " + std::to_string(data_bytes) +
                           ", so the end of the file is missing");
  if (at < data_bytes)
    refuse_safetensors(what, "", "MetadataIncompleteBuffer",
                       "expected the file to end with the last tensor, at byte " + std::to_string(at) +
                           " of the data, found " + std::to_string(data_bytes - at) + " bytes more");
}

}  // namespace

std::string_view name_of(StoredType type) {
  switch (type) {
    case StoredType::BOOL:
      return "BOOL";
    case StoredType::U8:
      return "U8";
    case StoredType::I8:
      return "I8";
    case StoredType::F8_E5M2:
      return "F8_E5M2";
    case StoredType::F8_E4M3:
      return "F8_E4M3";
    case StoredType::I16:
      return "I16";
    case StoredType::U16:
      return "U16";
    case StoredType::F16:
      return "F16";
    case StoredType::BF16:
      return "BF16";
    case StoredType::I32:
      return "I32";
    case StoredType::U32:
      return "U32";
    case StoredType::F32:
      return "F32";
    case StoredType::F64:
      return "F64";
    case StoredType::I64:
      return "I64";
    case StoredType::U64:
      return "U64";
  }
  check_failed("type", __FILE__, __LINE__, "no such StoredType");
}

std::int64_t size_of(StoredType type) {
  switch (type) {
    case StoredType::BOOL:
    case StoredType::U8:
    case StoredType::I8:
    case StoredType::F8_E5M2:
    case StoredType::F8_E4M3:
      return 1;
    case StoredType::I16:
    case StoredType::U16:
    case StoredType::F16:
    case StoredType::BF16:
      return 2;
    case StoredType::I32:
    case StoredType::U32:
    case StoredType::F32:
      return 4;
    case StoredType::F64:
    case StoredType::I64:
    case StoredType::U64:
      return 8;
  }
  check_failed("type", __FILE__, __LINE__, "no such StoredType");
}

std::int64_t TensorEntry::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string TensorEntry::description() const { return describe(type, shape); }

std::vector<TensorEntry> parse_safetensors_header(std::string_view header, std::int64_t data_bytes,
                                                  const std::shared_ptr<const File>& file, std::int64_t data_offset,
                                                  std::string_view what) {
  CHECK(data_bytes >= 0 && data_offset >= 0, "a place in a file");
  if (header.empty() || header.front() != '{')
    refuse_safetensors(what, "", "InvalidHeaderStart", "expected a header that begins with '{', found another byte");
  std::vector<HeaderTensor> found = parse_header_json(header, what);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  check_names(found, what);
  check_extents(found, data_bytes, what);
  std::vector<TensorEntry> tensors;
  tensors.reserve(found.size());
  for (HeaderTensor& tensor : found)
    tensors.push_back({std::move(tensor.name), tensor.type, std::move(tensor.shape),
                       StoredBytes(file, data_offset + tensor.begin, tensor.end - tensor.begin)});
  return tensors;
}

std::vector<TensorEntry> read_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<const File>(File::open(path));
  const std::string what = path.string();
  if (file->size() < kLengthBytes)
    refuse_safetensors(
        what, "", "HeaderTooSmall",
        "expected at least " + std::to_string(kLengthBytes) + " bytes, found " + std::to_string(file->size()));
  char length[kLengthBytes];
  file->read(0, std::as_writable_bytes(std::span(length)));
  if (std::string_view(length, sizeof(length)) == "version ")
    throw Error(ErrorCode::bad_model, what +
                                          ": expected safetensors (InvalidHeaderLength), found a Git LFS pointer: the "
                                          "weights were not fetched, run 'git lfs pull' in the folder");
  std::uint64_t size = 0;
  for (int i = 0; i < kLengthBytes; ++i) size |= std::uint64_t{static_cast<unsigned char>(length[i])} << (8 * i);
  if (size > kMaxHeaderBytes)
    refuse_safetensors(what, "", "HeaderTooLarge",
                       "expected a header of at most " + std::to_string(kMaxHeaderBytes) +
                           " bytes, found a length of " + std::to_string(size));
  const auto header_bytes = static_cast<std::int64_t>(size);
  if (header_bytes > file->size() - kLengthBytes)
    refuse_safetensors(what, "", "InvalidHeaderLength",
                       "expected a header of " + std::to_string(header_bytes) + " bytes, found a file of " +
                           std::to_string(file->size()) + " bytes");
  if (header_bytes < 2)
    refuse_safetensors(what, "", "HeaderTooSmall",
                       "expected a header of at least 2 bytes, found a length of " + std::to_string(header_bytes));
  std::string header(static_cast<std::size_t>(header_bytes), '\0');
  file->read(kLengthBytes, std::as_writable_bytes(std::span(header)));
  const std::int64_t data_offset = kLengthBytes + header_bytes;
  return parse_safetensors_header(header, file->size() - data_offset, file, data_offset, what);
}

}  // namespace strata
