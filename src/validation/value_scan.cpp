#include "validation/value_scan.h"

#include <algorithm>
#include <mutex>

#include "base/error.h"

namespace strata {
namespace {

constexpr std::int64_t kPieceBytes = 4 << 20;

enum class Values { unchecked, f32, bf16, f16, e4m3, block_scales };

Values values_of(const TensorEntry& t) {
  switch (t.type) {
    case StoredType::F32:
      return Values::f32;
    case StoredType::BF16:
      return Values::bf16;
    case StoredType::F16:
      return Values::f16;
    case StoredType::F8_E4M3:
      return t.shape.size() == 2 && t.name.ends_with(".weight_scale") ? Values::block_scales : Values::e4m3;
    default:
      return Values::unchecked;
  }
}

struct Bad {
  std::int64_t count = 0, first = 0;
};

/// The elements of `bytes` for which `is_bad(bits)`: counted in a loop that vectorises, looked for only if there are.
template <class T, class F>
Bad find_bad(std::span<const std::byte> bytes, F&& is_bad) {
  const std::span values(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
  std::uint32_t count = 0;
  for (const T v : values) count += is_bad(v) ? 1 : 0;
  if (count == 0) return {};
  return {count, std::find_if(values.begin(), values.end(), is_bad) - values.begin()};
}

Bad find_bad(Values kind, std::span<const std::byte> bytes) {
  switch (kind) {
    case Values::f32:
      return find_bad<std::uint32_t>(bytes, [](std::uint32_t v) { return (v & 0x7f800000u) == 0x7f800000u; });
    case Values::bf16:
      return find_bad<std::uint16_t>(bytes, [](std::uint16_t v) { return (v & 0x7f80u) == 0x7f80u; });
    case Values::f16:
      return find_bad<std::uint16_t>(bytes, [](std::uint16_t v) { return (v & 0x7c00u) == 0x7c00u; });
    case Values::e4m3:
      return find_bad<std::uint8_t>(bytes, [](std::uint8_t v) { return (v & 0x7fu) == 0x7fu; });
    case Values::block_scales:
      return find_bad<std::uint8_t>(bytes, [](std::uint8_t v) { return v >= 0x7fu; });
    case Values::unchecked:
      return {};
  }
  return {};
}

/// "[3, 17]" of the `index`-th element.
std::string place(const TensorEntry& tensor, std::int64_t index) {
  std::string text;
  for (std::size_t d = tensor.shape.size(); d-- > 0;) {
    text = std::to_string(index % tensor.shape[d]) + (text.empty() ? "" : ", ") + text;
    index /= tensor.shape[d];
  }
  return "[" + text + "]";
}

struct Piece {
  std::size_t tensor;
  std::int64_t at, bytes;
};

}  // namespace

std::string ScanResult::sentence() const {
  if (!error.empty()) return error;
  const std::string what = block_scales ? "block scales that are NaN or negative" : "values that are NaN or infinite";
  const File* file = tensor->bytes.file();
  return (file ? file->path().string() + ": " : "") + tensor->name + " has " + std::to_string(bad) + " of " +
         std::to_string(tensor->elements()) + " " + what + ", the first at " + place(*tensor, first) +
         "; fetch or export the file again";
}

std::vector<ScanResult> scan_values(std::span<const TensorEntry> tensors, ThreadPool& pool) {
  std::vector<Piece> pieces;
  std::vector<ScanResult> results(tensors.size());
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const Values kind = values_of(tensors[t]);
    results[t] = {&tensors[t], kind == Values::block_scales, 0, tensors[t].elements(), {}};
    if (kind == Values::unchecked) continue;
    for (std::int64_t at = 0; at < tensors[t].bytes.size(); at += kPieceBytes)
      pieces.push_back({t, at, std::min(kPieceBytes, tensors[t].bytes.size() - at)});
  }
  std::vector<std::vector<std::byte>> buffers(static_cast<std::size_t>(pool.size()));
  std::mutex mutex;
  pool.run(std::ssize(pieces), [&](std::int64_t i, int worker) {
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    const TensorEntry& tensor = tensors[piece.tensor];
    ScanResult& result = results[piece.tensor];
    auto& buffer = buffers[static_cast<std::size_t>(worker)];
    buffer.resize(static_cast<std::size_t>(piece.bytes));
    try {
      tensor.bytes.read(piece.at, buffer);
    } catch (const Error& e) {
      const std::lock_guard lock(mutex);
      result.error = e.what();
      return;
    }
    const Bad bad = find_bad(values_of(tensor), buffer);
    if (bad.count == 0) return;
    const std::lock_guard lock(mutex);
    result.bad += bad.count;
    result.first = std::min(result.first, piece.at / size_of(tensor.type) + bad.first);
  });
  std::erase_if(results, [](const ScanResult& r) { return r.bad == 0 && r.error.empty(); });
  return results;
}

}  // namespace strata
