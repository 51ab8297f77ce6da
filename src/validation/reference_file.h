// Logits of an independent implementation, and how far a model is from them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "validation/model_runner.h"

namespace strata {

/// A safetensors file with `input_ids` I32 [T] and `logits` F32 [T or fewer, vocab] (the last positions), and perhaps
/// `greedy` I32 [n] and `hidden.N` F32 [T, hidden]: hidden.0 the embedding, then the residual after each block, the
/// last one after the final norm.
struct ReferenceFile {
  std::vector<TokenId> input_ids;
  Logits logits;
  std::vector<TokenId> greedy;
  std::vector<std::vector<float>> hidden;

  /// Throws Error{bad_model} naming the file and the tensor.
  static ReferenceFile read(const std::filesystem::path& path, const std::string& ids_name = "input_ids",
                            const std::string& logits_name = "logits");
};

/// Distances of logits from a reference, over its positions.
struct Distance {
  double rel_l2 = 0;         // |x - r| / |r|, all positions together
  double median_rel_l2 = 0;  // the median over positions of the same
  double max_abs = 0;
  double top1_agreement = 0;  // share of positions with the same largest logit
  double mean_kl = 0;         // mean over positions of KL(reference || model), nats
  bool finite = true;
};
Distance distance(const Logits& logits, const Logits& reference);

/// |a - b| / |b|.
double relative_l2(std::span<const float> a, std::span<const float> b);

struct ReferenceResult {
  Distance logits;
  std::vector<double> hidden_rel_l2;                  // by hidden.N, if the file has them
  std::int64_t greedy_matched = 0, greedy_total = 0;  // leading tokens of the greedy answer that agree
};

/// Feeds the file's tokens, and answers greedily as many tokens as it has.
ReferenceResult compare(ModelRunner& runner, const ReferenceFile& reference);

}  // namespace strata
