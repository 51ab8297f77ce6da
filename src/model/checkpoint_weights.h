// A checkpoint's tensors under canonical names, put together into weights of a known shape.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "tensor/weight_formats.h"

namespace strata {

/// The name that a binding uses for a tensor: `model.` and `language_model.` become `backbone.`, `embed_tokens` and
/// `norm` become `embeddings` and `norm_f`.
std::string canonical_name(std::string_view name);

/// Finds the tensors that make up a weight, in whatever format they are, and checks their shapes and types. Reads
/// scales, no weights. All throw Error{bad_model} that names the file, the tensor, what was expected and found.
class CheckpointWeights {
 public:
  /// `checkpoint` must outlive it. Throws if two tensors have one canonical name.
  explicit CheckpointWeights(const Checkpoint& checkpoint);

  /// The linear layer `name`: `weight` in BF16, F32 or FP8 (with `weight_scale`), or NVFP4 as ModelOpt
  /// (`weight` U8, `weight_scale`, `weight_scale_2`) or compressed-tensors (`weight_packed`, `weight_scale`,
  /// `weight_global_scale`) write it.
  LinearWeight linear(const std::string& name, std::int64_t out, std::int64_t in);
  /// A bank: one linear layer an expert, or a fused BF16 or F32 tensor [n, out, in].
  std::vector<LinearWeight> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                    std::int64_t out, std::int64_t in);
  /// An unquantised tensor of `elements` elements (its dimensions of 1 don't matter), as floats.
  std::vector<float> floats(const std::string& name, const std::vector<std::int64_t>& shape);
  /// A finite scalar, if it is there.
  std::optional<float> scalar(const std::string& name);

  /// Tensors that nobody asked for and that begin with none of `ignored`.
  std::vector<const TensorEntry*> unused(const std::vector<std::string>& ignored) const;
  const Checkpoint& checkpoint() const { return checkpoint_; }
  /// Throws unless a tensor of a linear layer's scales agrees with what quantisation is declared; in words for
  /// `inspect`, one sentence a contradiction, for the linear layers handed out so far.
  const std::vector<std::string>& contradictions() const { return contradictions_; }

 private:
  const TensorEntry* take(const std::string& name);
  const TensorEntry& need(const std::string& name, std::string_view why);
  float positive_scalar(const TensorEntry& entry);
  float read_scalar(const TensorEntry& entry);
  LinearWeight fp8(const std::string& name, const TensorEntry& weight, std::int64_t out, std::int64_t in);
  LinearWeight nvfp4(const std::string& name, const TensorEntry& weight, bool inverse_scale, std::int64_t out,
                     std::int64_t in);
  void check_declaration(const std::string& name, const LinearWeight& weight);
  [[noreturn]] void fail(const TensorEntry& entry, const std::string& message) const;

  const Checkpoint& checkpoint_;
  struct Place {
    const TensorEntry* entry;
    bool used = false;
  };
  std::unordered_map<std::string, Place> places_;  // by canonical name
  std::vector<std::string> contradictions_;
  // What was last read of a file for a scalar: published files keep thousands of scales side by side, and a call for
  // each would take a tenth of the time of loading.
  const File* window_file_ = nullptr;
  std::int64_t window_begin_ = 0;
  std::vector<std::byte> window_;
};

}  // namespace strata
