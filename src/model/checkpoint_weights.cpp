#include "model/checkpoint_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace strata {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// The shape without its dimensions of 1: how [c, 1, k] is [c, k], and [1] a scalar.
std::vector<std::int64_t> squeezed(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> result;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(result), [](std::int64_t n) { return n != 1; });
  return result;
}

std::optional<DType> dtype_of_stored(StoredType type) {
  switch (type) {
    case StoredType::F32:
      return DType::f32;
    case StoredType::BF16:
      return DType::bf16;
    case StoredType::F8_E4M3:
      return DType::f8_e4m3;
    case StoredType::U8:
      return DType::u8;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string canonical_name(std::string_view name) {
  if (name.starts_with("language_model.")) name.remove_prefix(15);
  std::string canonical(name);
  if (name.starts_with("model.")) canonical = "backbone." + std::string(name.substr(6));
  if (canonical.starts_with("backbone.embed_tokens.")) canonical = "backbone.embeddings." + canonical.substr(22);
  if (canonical.starts_with("backbone.norm.")) canonical = "backbone.norm_f." + canonical.substr(14);
  return canonical;
}

CheckpointWeights::CheckpointWeights(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  places_.reserve(checkpoint.tensors().size());
  for (const TensorEntry& entry : checkpoint.tensors()) {
    const auto [at, added] = places_.try_emplace(canonical_name(entry.name), Place{&entry});
    if (!added) fail(entry, "is the same weight as " + at->second.entry->name + "; one of the two has to go");
  }
}

void CheckpointWeights::fail(const TensorEntry& entry, const std::string& message) const {
  const File* file = entry.bytes.file();
  throw Error(ErrorCode::bad_model,
              (file ? file->path().string() : checkpoint_.folder().string()) + ": " + entry.name + " " + message);
}

const TensorEntry* CheckpointWeights::take(const std::string& name) {
  const auto at = places_.find(name);
  if (at == places_.end()) return nullptr;
  CHECK(!std::exchange(at->second.used, true), "a binding asks for every tensor once");
  return at->second.entry;
}

const TensorEntry& CheckpointWeights::need(const std::string& name, std::string_view why) {
  const TensorEntry* entry = take(name);
  if (!entry) {
    throw Error(ErrorCode::bad_model, checkpoint_.folder().string() + ": the tensor " + name + " is missing (" +
                                          std::string(why) + "); is the download complete?");
  }
  return *entry;
}

float CheckpointWeights::read_scalar(const TensorEntry& entry) {
  constexpr std::int64_t kWindow = 16384;
  float value = 0;
  const auto size = static_cast<std::int64_t>(sizeof value);
  const File* file = entry.bytes.file();
  const std::int64_t at = entry.bytes.offset();
  if (!file) {
    entry.bytes.read(0, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  if (file != window_file_ || at < window_begin_ || at + size > window_begin_ + std::ssize(window_)) {
    window_file_ = nullptr;  // should reading fail
    window_begin_ = at / kWindow * kWindow;
    window_.resize(static_cast<std::size_t>(std::min(kWindow + size, file->size() - window_begin_)));
    file->read(window_begin_, window_);
    window_file_ = file;
  }
  std::memcpy(&value, window_.data() + (at - window_begin_), sizeof value);
  return value;
}

float CheckpointWeights::positive_scalar(const TensorEntry& entry) {
  if (entry.type != StoredType::F32 || entry.elements() != 1) {
    fail(entry, "should be one F32 scale, but is " + entry.description());
  }
  const float value = read_scalar(entry);
  if (!(value > 0) || !std::isfinite(value)) {
    fail(entry, "should be a finite scale above 0, but is " + std::to_string(value));
  }
  return value;
}

std::optional<float> CheckpointWeights::scalar(const std::string& name) {
  const TensorEntry* entry = take(name);
  return entry ? std::optional(positive_scalar(*entry)) : std::nullopt;
}

LinearWeight CheckpointWeights::linear(const std::string& name, std::int64_t out, std::int64_t in) {
  const TensorEntry* packed = take(name + ".weight_packed");
  const TensorEntry& entry = packed ? *packed : need(name + ".weight", "a linear layer's weight");
  LinearWeight weight;
  if (packed || entry.type == StoredType::U8) {
    weight = nvfp4(name, entry, packed != nullptr, out, in);
  } else {
    if (entry.shape != std::vector{out, in}) {
      fail(entry, "should be " + shape_text({out, in}) + " by config.json, but is " + entry.description());
    }
    if (entry.type == StoredType::F8_E4M3) {
      weight = fp8(name, entry, out, in);
    } else if (entry.type == StoredType::BF16 || entry.type == StoredType::F32) {
      weight = DenseWeight{{entry.bytes, *dtype_of_stored(entry.type), out, in}};
    } else {
      fail(entry, "is " + entry.description() + "; Strata computes with BF16, F32, F8_E4M3 and NVFP4 (U8) weights");
    }
  }
  check_declaration(name, weight);
  return weight;
}

LinearWeight CheckpointWeights::fp8(const std::string& name, const TensorEntry& weight, std::int64_t out,
                                    std::int64_t in) {
  const TensorEntry& scale = need(name + ".weight_scale", "the scale of the FP8 weight beside it");
  if (scale.elements() != 1) {
    fail(scale,
         "is " + scale.description() + "; Strata computes with one scale a tensor, not with one a channel or block");
  }
  scalar(name + ".input_scale");  // checked; activations stay bf16
  const float value = positive_scalar(scale);
  return Fp8Weight{{weight.bytes, DType::f8_e4m3, out, in}, value};
}

LinearWeight CheckpointWeights::nvfp4(const std::string& name, const TensorEntry& weight, bool inverse_scale,
                                      std::int64_t out, std::int64_t in) {
  if (in % kNvfp4Block != 0)
    fail(weight, "has " + std::to_string(in) + " columns by config.json, which NVFP4 can't split into blocks of 16");
  if (weight.type != StoredType::U8 || weight.shape != std::vector{out, in / 2}) {
    fail(weight, "should be U8 " + shape_text({out, in / 2}) + " (two codes a byte), but is " + weight.description());
  }
  const TensorEntry& scales = need(name + ".weight_scale", "the block scales of the NVFP4 weight beside it");
  if (scales.type != StoredType::F8_E4M3 || scales.shape != std::vector{out, in / kNvfp4Block}) {
    fail(scales, "should be F8_E4M3 " + shape_text({out, in / kNvfp4Block}) + ", but is " + scales.description());
  }
  const TensorEntry& global = need(name + (inverse_scale ? ".weight_global_scale" : ".weight_scale_2"),
                                   "the global scale of the NVFP4 weight beside it");
  const float scale = inverse_scale ? 1 / positive_scalar(global) : positive_scalar(global);
  if (!std::isfinite(scale)) fail(global, "is the inverse of a scale, and too small to be turned into one");
  scalar(name + (inverse_scale ? ".input_global_scale" : ".input_scale"));  // checked; activations stay bf16
  return Nvfp4Weight{
      {weight.bytes, DType::u8, out, in / 2}, {scales.bytes, DType::f8_e4m3, out, in / kNvfp4Block}, scale};
}

std::vector<LinearWeight> CheckpointWeights::experts(const std::string& container, const std::string& projection,
                                                     std::int64_t n, std::int64_t out, std::int64_t in) {
  std::vector<LinearWeight> bank;
  if (const TensorEntry* fused = take(container + "." + projection)) {
    if (fused->shape != std::vector{n, out, in} ||
        (fused->type != StoredType::BF16 && fused->type != StoredType::F32)) {
      fail(*fused,
           "should be BF16 or F32 " + shape_text({n, out, in}) + " by config.json, but is " + fused->description());
    }
    const DType type = *dtype_of_stored(fused->type);
    const std::int64_t bytes = out * in * strata::size_of(type);
    for (std::int64_t e = 0; e < n; ++e)
      bank.push_back(DenseWeight{{fused->bytes.slice(e * bytes, bytes), type, out, in}});
    check_declaration(container + ".0." + projection, bank[0]);
    return bank;
  }
  for (std::int64_t e = 0; e < n; ++e)
    bank.push_back(linear(container + "." + std::to_string(e) + "." + projection, out, in));
  return bank;
}

std::vector<float> CheckpointWeights::floats(const std::string& name, const std::vector<std::int64_t>& shape) {
  const TensorEntry& entry = need(name, "of every block of its kind");
  std::int64_t elements = 1;
  for (std::int64_t n : shape) elements *= n;
  // A gated norm's weight may be stored [groups, width]: the same elements in the same order.
  if (squeezed(entry.shape) != squeezed(shape) && !(shape.size() == 1 && entry.elements() == elements)) {
    fail(entry, "should be " + shape_text(shape) + " by config.json, but is " + entry.description());
  }
  if (entry.type != StoredType::F32 && entry.type != StoredType::BF16) {
    fail(entry, "should be F32 or BF16, but is " + entry.description() + "; this tensor is never quantised");
  }
  std::vector<float> values(static_cast<std::size_t>(elements));
  if (entry.type == StoredType::F32) {
    entry.bytes.read(0, std::as_writable_bytes(std::span(values)));
  } else {
    // Piece by piece: a second vector of a router's size would cost as many page faults as the first.
    std::array<bf16, 8192> piece;
    for (std::size_t at = 0; at < values.size(); at += piece.size()) {
      const auto stored = std::span(piece).first(std::min(piece.size(), values.size() - at));
      entry.bytes.read(static_cast<std::int64_t>(at * sizeof(bf16)), std::as_writable_bytes(stored));
      std::transform(stored.begin(), stored.end(), values.begin() + static_cast<std::ptrdiff_t>(at),
                     [](bf16 v) { return static_cast<float>(v); });
    }
  }
  return values;
}

void CheckpointWeights::check_declaration(const std::string& name, const LinearWeight& weight) {
  const auto& declaration = checkpoint_.quant_config();
  if (!declaration) return;
  const QuantAlgorithm declared = declaration->declared(name);
  const std::string_view found = format_name(weight);
  const bool agrees = declared == QuantAlgorithm::none  ? (found == "bf16" || found == "f32")
                      : declared == QuantAlgorithm::fp8 ? found == "fp8"
                                                        : found == "nvfp4";
  if (!agrees) {
    contradictions_.push_back(name + " is declared " + std::string(name_of(declared)) + ", but its tensor is " +
                              std::string(found) + "; the tensor counts");
  }
}

std::vector<const TensorEntry*> CheckpointWeights::unused(const std::vector<std::string>& ignored) const {
  std::vector<const TensorEntry*> result;
  for (const TensorEntry& entry : checkpoint_.tensors()) {
    const std::string name = canonical_name(entry.name);
    if (places_.at(name).used) continue;
    if (std::none_of(ignored.begin(), ignored.end(), [&](const auto& prefix) { return name.starts_with(prefix); }))
      result.push_back(&entry);
  }
  return result;
}

}  // namespace strata
