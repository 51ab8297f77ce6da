// Products with weights: linear layers, the router's gate, and rows of the embedding table.
#include <algorithm>

#include "backend/cpu/cpu_backend.h"

namespace strata {
namespace {

// Rows from which a linear layer's work is also split by rows, if there are too few tiles for all threads.
constexpr std::int64_t kRowSplit = 48;

struct Split {
  std::int64_t tiles = 0, rows = 0;            // of one item
  std::int64_t tile_items = 0, row_items = 0;  // their product is the number of items
};

// How work is cut leaves the bits alone: no item takes a part of K.
Split split(std::int64_t tiles, std::int64_t rows, std::int64_t threads) {
  Split s;
  s.tiles = std::clamp<std::int64_t>(tiles / (threads * 8) / 2 * 2, 2, 32);
  if (threads == 1) s.tiles = tiles;
  s.tile_items = (tiles + s.tiles - 1) / s.tiles;
  s.rows = s.tile_items < 2 * threads && threads > 1 ? std::min(rows, kRowSplit) : rows;
  s.row_items = (rows + s.rows - 1) / s.rows;
  return s;
}

}  // namespace

void CpuBackend::round_rows(ConstMatrix x, std::int64_t first, std::int64_t count) {
  const Scratch& s = scratch();
  const std::int64_t width = padded_features(x.cols);
  CHECK(width <= s.width_x && count <= s.rows, "more features or rows than reserve() was told");
  pool_.run(
      count,
      [&](std::int64_t r, int) {
        kernels_.round_activations(x.row<float>(first + r), x.cols, width, s.x + r * s.x_bytes);
      },
      items_alone(6 * x.cols));
}

void CpuBackend::multiply_rows(const PackedLinear& w, std::int64_t count) {
  const Scratch& s = scratch();
  const Split cut = split(w.tiles(), count, pool_.size());
  const auto matmul = kernels_.matmul[static_cast<int>(w.weights[0].format)];
  pool_.run(
      cut.tile_items * cut.row_items,
      [&](std::int64_t item, int) {
        const std::int64_t tile = item / cut.row_items * cut.tiles, row = item % cut.row_items * cut.rows;
        const ActivationRows rows{s.x_rows + row, s.out_rows + row, std::min(cut.rows, count - row)};
        matmul(w.range(0, tile, std::min(cut.tiles, w.tiles() - tile)), rows);
      },
      items_alone(cut.tiles * w.weights[0].tile_bytes * std::max<std::int64_t>(1, cut.rows / 4)));
}

void CpuBackend::linear(ConstMatrix x, const Linear& weight, Matrix out) {
  const PackedLinear& w = packed(weight);
  const Scratch& s = scratch();
  CHECK(w.experts == 1 && x.cols == w.in_features && out.cols == w.out_features && x.rows == out.rows, "linear: shape");
  for (std::int64_t first = 0; first < x.rows; first += s.rows) {
    const std::int64_t count = std::min(s.rows, x.rows - first);
    round_rows(x, first, count);
    for (std::int64_t r = 0; r < count; ++r) {
      s.x_rows[r] = s.x + r * s.x_bytes;
      s.out_rows[r] = out.row<float>(first + r);
    }
    multiply_rows(w, count);
  }
}

void CpuBackend::linear_f32(ConstMatrix x, const Table& w, Matrix out) {
  CHECK(x.cols == w.cols && out.cols == w.rows && x.rows == out.rows, "linear_f32: shape");
  constexpr std::int64_t kOutputs = 16;
  const std::int64_t parts = (w.rows + kOutputs - 1) / kOutputs;
  const ConstMatrix weights = w.view();
  pool_.run(
      x.rows * parts,
      [&](std::int64_t item, int) {
        const std::int64_t row = item / parts, first = item % parts * kOutputs;
        kernels_.dots(x.row<float>(row), weights.row<float>(first), weights.stride, std::min(kOutputs, w.rows - first),
                      x.cols, out.row<float>(row) + first);
      },
      items_alone(kOutputs * x.cols * 4));
}

void CpuBackend::embed(const StagedBatch& batch, const Linear& table, Matrix out) {
  const PackedLinear& w = packed(table);
  const Scratch& s = scratch();
  const auto tokens = batch.host.tokens;
  CHECK(w.experts == 1 && out.cols == w.in_features && out.rows == static_cast<std::int64_t>(tokens.size()),
        "embed: shape");
  pool_.run(
      out.rows,
      [&](std::int64_t row, int) {
        TokenId token = tokens[static_cast<std::size_t>(row)];
        if (token == kTokenOfLastStep) {
          const std::int32_t slot = sequence_of_row(batch.host, row).slot;
          CHECK(0 <= slot && slot < s.limits.slots, "a slot that reserve() was not told");
          token = s.last_tokens[slot];
        }
        CHECK(0 <= token && token < w.out_features, "a token outside the vocabulary");
        unpack_row(w, 0, token, out.row<float>(row));
      },
      items_alone(32 * out.cols));
}

}  // namespace strata
