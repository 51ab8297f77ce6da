// Paged keys and values, and attention over them.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cpu/cpu_backend.h"

namespace strata {
namespace {

// Where the keys (part 0) or values (part 1) of a page's head begin, in elements.
std::int64_t page_offset(const KvPages& cache, std::int64_t page, std::int64_t part, std::int64_t head) {
  return ((page * 2 + part) * cache.heads + head) * cache.page_size * cache.head_dim;
}

void store_row(const float* from, float scale, DType dtype, std::int64_t n, std::byte* to) {
  if (dtype == DType::bf16) {
    for (std::int64_t i = 0; i < n; ++i) reinterpret_cast<bf16*>(to)[i] = to_bf16(from[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] = std::byte{encode_e4m3(from[i] / scale)};
  }
}

void check_cache(const KvPages& cache) {
  CHECK(cache.dtype == DType::bf16 || cache.dtype == DType::f8_e4m3, "keys and values are bf16 or e4m3");
  CHECK(cache.head_dim <= kMaxHeadDim, "a head of more than 512 dimensions");
}

// How one sequence's queries are cut: blocks of tokens, and parts of the heads that share keys.
struct QueryCut {
  std::int64_t heads = 0, head_parts = 0, tokens = 0;
};

QueryCut cut_queries(const Batch& batch, std::int64_t group, std::int64_t kv_heads, std::int64_t threads) {
  QueryCut cut;
  cut.heads = std::min(group, kQueryBlock);
  const auto shares = static_cast<std::int64_t>(batch.sequences.size()) * kv_heads;
  // Every part reads the keys again: only as many as keep the threads busy.
  while (cut.heads > 4 && shares * ((group + cut.heads - 1) / cut.heads) < threads) cut.heads = (cut.heads + 1) / 2;
  cut.head_parts = (group + cut.heads - 1) / cut.heads;
  cut.tokens = std::max<std::int64_t>(1, kQueryBlock / cut.heads);
  return cut;
}

// One item: queries of `tokens` tokens and `heads` heads that read one head's keys, over all pages that they see.
struct QueryItem {
  const SequenceRows* sequence = nullptr;
  std::int64_t token = 0, tokens = 0;  // within the sequence's new tokens
  std::int64_t kv_head = 0, head = 0, heads = 0;
};

class BlockAttention {
 public:
  BlockAttention(const KernelTable& kernels, const KvPages& cache, float scale, float* scratch)
      : kernels_(kernels),
        cache_(cache),
        score_scale_(cache.dtype == DType::bf16 ? scale : scale * cache.k_scale * kE4m3Divisor),
        value_scale_(cache.dtype == DType::bf16 ? 1.0f : cache.v_scale * kE4m3Divisor),
        even_dim_((cache.head_dim + 1) / 2 * 2),
        keys_(reinterpret_cast<std::uint32_t*>(scratch)),
        rows_(reinterpret_cast<std::uint16_t*>(keys_ + kMaxHeadDim / 2 * kKeyBlock)),
        queries_(reinterpret_cast<std::byte*>(rows_ + kMaxHeadDim * kKeyBlock)) {}

  void run(const QueryItem& item, ConstMatrix q, Matrix out) {
    begin(item, q, out);
    const std::int64_t queries = item.tokens * item.heads;
    const std::int64_t end = item.sequence->position + item.token + item.tokens;  // positions that the last one sees
    for (std::int64_t position = 0; position < end;) {
      const std::int64_t next = next_block(position);
      KeyBlock block = block_of(place_of(item, position), std::min(next, end) - position);
      if (next < end) {
        const Place place = place_of(item, next);
        block.next_keys = rows_at(place, 0);
        block.next_values = rows_at(place, 1);
        block.row_bytes = cache_.head_dim * size_of(cache_.dtype);
      }
      for (std::int64_t i = 0; i < queries; ++i)
        states_[i].visible = std::clamp<std::int64_t>(
            item.sequence->position + item.token + i / item.heads + 1 - position, 0, block.count);
      kernels_.attend(block, score_scale_, states_, queries);
      position = next;
    }
    for (std::int64_t i = 0; i < queries; ++i)
      for (std::int64_t d = 0; d < cache_.head_dim; ++d)
        states_[i].values[d] = states_[i].values[d] / states_[i].total * value_scale_;
  }

 private:
  void begin(const QueryItem& item, ConstMatrix q, Matrix out) {
    for (std::int64_t i = 0; i < item.tokens * item.heads; ++i) {
      const std::int64_t row = item.sequence->first_row + item.token + i / item.heads;
      const std::int64_t column = (item.head + i % item.heads) * cache_.head_dim;
      std::byte* query = queries_ + i * even_dim_ * kernels_.activation_bytes;
      kernels_.round_activations(q.row<float>(row) + column, cache_.head_dim, even_dim_, query);
      states_[i] = {query, out.row<float>(row) + column, -std::numeric_limits<float>::infinity(), 0, 0};
      std::fill_n(states_[i].values, cache_.head_dim, 0.0f);
    }
  }

  struct Place {
    std::int64_t page = 0, head = 0, first = 0;  // within the page
  };
  Place place_of(const QueryItem& item, std::int64_t position) const {
    return {item.sequence->pages[static_cast<std::size_t>(position / cache_.page_size)], item.kv_head,
            position % cache_.page_size};
  }

  // Blocks begin anew with every page.
  std::int64_t next_block(std::int64_t position) const {
    const std::int64_t left = cache_.page_size - position % cache_.page_size;
    return position + std::min(kKeyBlock, left);
  }

  // Keys (part 0) or values (part 1) from there on.
  const std::byte* rows_at(const Place& place, std::int64_t part) const {
    return cache_.data.get() +
           (page_offset(cache_, place.page, part, place.head) + place.first * cache_.head_dim) * size_of(cache_.dtype);
  }

  KeyBlock block_of(const Place& place, std::int64_t count) {
    const std::int64_t dim = cache_.head_dim, lanes = (count + 15) / 16 * 16;
    const std::byte *key_rows = rows_at(place, 0), *value_rows = rows_at(place, 1);
    const bool in_place = cache_.dtype == DType::bf16 && dim == even_dim_ && place.first + lanes <= cache_.page_size;
    const auto* keys = in_place ? reinterpret_cast<const std::uint16_t*>(key_rows) : pad_rows(key_rows, count);
    kernels_.transpose(reinterpret_cast<const float*>(keys), lanes, even_dim_ / 2, reinterpret_cast<float*>(keys_),
                       kKeyBlock);
    KeyBlock block{keys_, rows_, kKeyBlock, count, dim};
    if (cache_.dtype == DType::bf16)
      block.values = reinterpret_cast<const std::uint16_t*>(value_rows);
    else
      widen(value_rows, count * dim, rows_);
    return block;
  }

  // `count` rows of the cache as bf16, an even number of dimensions each.
  const std::uint16_t* pad_rows(const std::byte* from, std::int64_t count) {
    const std::int64_t dim = cache_.head_dim;
    if (dim == even_dim_) {
      widen(from, count * dim, rows_);
      return rows_;
    }
    for (std::int64_t j = 0; j < count; ++j, from += dim * size_of(cache_.dtype)) {
      widen(from, dim, rows_ + j * even_dim_);
      rows_[(j + 1) * even_dim_ - 1] = 0;
    }
    return rows_;
  }

  void widen(const std::byte* from, std::int64_t n, std::uint16_t* to) const {
    if (cache_.dtype == DType::bf16)
      std::memcpy(to, from, static_cast<std::size_t>(2 * n));
    else
      kernels_.e4m3_to_bf16(reinterpret_cast<const unsigned char*>(from), to, n);
  }

  const KernelTable& kernels_;
  const KvPages& cache_;
  const float score_scale_, value_scale_;
  const std::int64_t even_dim_;
  std::uint32_t* keys_;  // a block's, by pairs of dimensions
  std::uint16_t* rows_;  // a block's keys, then its values, where the cache's own won't do
  std::byte* queries_;
  QueryState states_[kQueryBlock];
};

}  // namespace

void CpuBackend::append_kv(const StagedBatch& batch, ConstMatrix k, ConstMatrix v, KvPages& cache) {
  check_cache(cache);
  CHECK(k.cols == cache.heads * cache.head_dim && v.cols == k.cols && v.rows == k.rows, "append_kv: shape");
  pool_.run(
      k.rows,
      [&](std::int64_t row, int) {
        const SequenceRows& s = sequence_of_row(batch.host, row);
        const std::int64_t position = s.position + row - s.first_row;
        CHECK(position / cache.page_size < static_cast<std::int64_t>(s.pages.size()), "a position without a page");
        const std::int64_t page = s.pages[static_cast<std::size_t>(position / cache.page_size)];
        for (std::int64_t head = 0; head < cache.heads; ++head) {
          const std::int64_t within = position % cache.page_size * cache.head_dim, element = size_of(cache.dtype);
          const auto place = [&](std::int64_t part) {
            return cache.data.get() + (page_offset(cache, page, part, head) + within) * element;
          };
          store_row(k.row<float>(row) + head * cache.head_dim, cache.k_scale, cache.dtype, cache.head_dim, place(0));
          store_row(v.row<float>(row) + head * cache.head_dim, cache.v_scale, cache.dtype, cache.head_dim, place(1));
        }
      },
      items_alone(16 * k.cols));
}

void CpuBackend::attention(const StagedBatch& batch, ConstMatrix q, const KvPages& cache, float scale, Matrix out) {
  check_cache(cache);
  const Scratch& memory = scratch();
  const std::int64_t heads = q.cols / cache.head_dim, group = heads / cache.heads;
  CHECK(q.cols == heads * cache.head_dim && heads == group * cache.heads && group >= 1 && out.cols == q.cols &&
            out.rows == q.rows,
        "attention: shape");
  const QueryCut cut = cut_queries(batch.host, group, cache.heads, pool_.size());
  const std::int64_t shares = cache.heads * cut.head_parts;
  const auto items_of = [&](const SequenceRows& s) { return (s.count + cut.tokens - 1) / cut.tokens * shares; };
  std::int64_t items = 0;
  for (const SequenceRows& s : batch.host.sequences) items += items_of(s);
  pool_.run(items, [&](std::int64_t index, int worker) {
    std::int64_t i = items - 1 - index;  // the last blocks of a prompt see the most keys: first
    const SequenceRows* s = batch.host.sequences.data();
    for (; i >= items_of(*s); ++s) i -= items_of(*s);
    QueryItem item;
    item.sequence = s;
    item.token = i / shares * cut.tokens;
    item.tokens = std::min(cut.tokens, s->count - item.token);
    item.kv_head = i % shares / cut.head_parts;
    const std::int64_t part = i % cut.head_parts * cut.heads;
    item.head = item.kv_head * group + part;
    item.heads = std::min(cut.heads, group - part);
    BlockAttention(kernels_, cache, scale, memory.worker(worker)).run(item, q, out);
  });
}

}  // namespace strata
