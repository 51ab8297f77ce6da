// What one launch of the products of prompts works on, and the shape of its pieces.
#pragma once

#include "backend/cuda/kernels/prefill_linear.h"
#include "backend/cuda/kernels/tensor_map.h"

namespace strata::cuda {

/// Blocks of a cluster, and a block's warpgroups that multiply, of 64 features each; one more asks for copies.
inline constexpr int kCluster = 2, kGroups = 2;
inline constexpr int kThreads = 128 * (kGroups + 1), kBlockRowTiles = 4 * kGroups,
                     kClusterRowTiles = kCluster * kBlockRowTiles;
/// Rows of a box of tokens, and of the last one if there are not as many; tokens are multiplied in steps of these.
inline constexpr int kBoxRows = 32, kTokenStep = 16;

struct PrefillProducts {
  CUtensorMap boxes, last_box;  // of tokens: kBoxRows and kTokenStep rows
  CUtensorMap tiles;            // of weights: a column tile of a block's row tiles
  PackedBank bank;
  LinearOutput out;
  ExpertItems items;
  std::int64_t rows;   // of one matrix: all
  int tokens, pieces;  // of one matrix: tokens of a piece, pieces of tokens
  int feature_pieces;
};

/// Dense, or of experts if there are items. Each format is compiled by itself (prefill_nvfp4.cu and so on).
template <Format F>
void launch_prefill(const Launch& to, const PrefillProducts& p, std::int64_t most_pieces, bool fast);

}  // namespace strata::cuda
