#include <algorithm>

#include "backend/cuda/kernels/prefill_linear.h"
#include "backend/cuda/kernels/prefill_products.h"

namespace strata::cuda {
namespace {

PrefillProducts products_of(const PackedBank& bank, Bf16Rows x, std::int64_t rows, const LinearOutput& out) {
  PrefillProducts p{};
  p.boxes = map_rows(x.data, rows, x.stride, kBoxRows);
  p.last_box = map_rows(x.data, rows, x.stride, kTokenStep);
  p.tiles = map_tiles(bank, kBlockRowTiles);
  p.bank = bank;
  p.out = out;
  p.rows = rows;
  p.feature_pieces = static_cast<int>((bank.row_tiles() + kClusterRowTiles - 1) / kClusterRowTiles);
  return p;
}

void launch_products(const Launch& to, const PrefillProducts& p, std::int64_t most_pieces, bool fast) {
  switch (p.bank.first.format) {
    case Format::bf16:
      return launch_prefill<Format::bf16>(to, p, most_pieces, fast);
    case Format::fp8:
      return launch_prefill<Format::fp8>(to, p, most_pieces, fast);
    default:
      return launch_prefill<Format::nvfp4>(to, p, most_pieces, fast);
  }
}

}  // namespace

int prefill_tokens(std::int64_t rows, std::int64_t feature_pieces, std::int64_t clusters, bool fast) {
  constexpr std::int64_t kBesides = 48;  // what a piece costs beside its tokens, in tokens
  std::int64_t best = 0, least = 0;
  const auto weigh = [&](std::int64_t n) {
    const std::int64_t pieces = (rows + n - 1) / n * feature_pieces;
    const std::int64_t cost = (pieces + clusters - 1) / clusters * (n + kBesides);
    if (best == 0 || cost < least) best = n, least = cost;
  };
  if (fast) {
    for (const int n : {256, 192, 128, 64}) weigh(n);
  } else {
    for (const int n : {160, 128, 64}) weigh(n);
  }
  return static_cast<int>(best);
}

void prefill_linear(const Launch& to, const LinearJob& job, std::int64_t rows, bool fast) {
  PrefillProducts p = products_of(job.bank, job.x, rows, job.out);
  p.tokens = prefill_tokens(rows, p.feature_pieces, to.processors / kCluster, fast);
  p.pieces = static_cast<int>((rows + p.tokens - 1) / p.tokens);
  launch_products(to, p, static_cast<std::int64_t>(p.pieces) * p.feature_pieces, fast);
}

void prefill_experts(const Launch& to, const PackedBank& bank, Bf16Rows x, std::int64_t pairs, const ExpertItems& items,
                     const LinearOutput& out, bool fast) {
  PrefillProducts p = products_of(bank, x, pairs, out);
  p.items = items;
  launch_products(to, p, items.most_items * p.feature_pieces, fast);
}

}  // namespace strata::cuda
