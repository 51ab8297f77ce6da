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

struct E4m3Values {
  float value[256];
  E4m3Values() {
    for (int code = 0; code < 256; ++code) value[code] = decode_e4m3(static_cast<std::uint8_t>(code));
  }
};

// A row of the cache as f32.
void load_row(const KernelTable& kernels, const std::byte* from, float scale, DType dtype, std::int64_t n, float* to) {
  if (dtype == DType::bf16) return kernels.widen_bf16(reinterpret_cast<const std::uint16_t*>(from), to, n);
  static const E4m3Values decoded;
  for (std::int64_t i = 0; i < n; ++i) to[i] = decoded.value[std::to_integer<std::uint8_t>(from[i])] * scale;
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
        scale_(scale),
        keys_(scratch),
        values_(keys_ + kMaxHeadDim * kKeyBlock),
        queries_(values_ + kMaxHeadDim * kKeyBlock) {}

  void run(const QueryItem& item, ConstMatrix q, Matrix out) {
    begin(item, q, out);
    const std::int64_t end = item.sequence->position + item.token + item.tokens;  // positions that the last one sees
    for (std::int64_t page = 0; page * cache_.page_size < end; ++page) {
      const std::int64_t keys = std::min(cache_.page_size, end - page * cache_.page_size);
      for (std::int64_t first = 0; first < keys; first += kKeyBlock) {
        const std::int64_t count = std::min(kKeyBlock, keys - first);
        load_block(item.sequence->pages[static_cast<std::size_t>(page)], item.kv_head, first, count);
        for (std::int64_t i = 0; i < item.tokens * item.heads; ++i)
          states_[i].visible = std::clamp<std::int64_t>(
              item.sequence->position + item.token + i / item.heads + 1 - page * cache_.page_size - first, 0, count);
        kernels_.attend({keys_, values_, kKeyBlock, count, cache_.head_dim}, scale_, states_, item.tokens * item.heads);
      }
    }
    for (std::int64_t i = 0; i < item.tokens * item.heads; ++i)
      for (std::int64_t d = 0; d < cache_.head_dim; ++d) states_[i].values[d] /= states_[i].total;
  }

 private:
  void begin(const QueryItem& item, ConstMatrix q, Matrix out) {
    for (std::int64_t i = 0; i < item.tokens * item.heads; ++i) {
      const std::int64_t row = item.sequence->first_row + item.token + i / item.heads;
      const std::int64_t column = (item.head + i % item.heads) * cache_.head_dim;
      float* query = queries_ + i * kMaxHeadDim;
      kernels_.round_bf16(q.row<float>(row) + column, query, cache_.head_dim);
      states_[i] = {query, out.row<float>(row) + column, -std::numeric_limits<float>::infinity(), 0, 0};
      std::fill_n(states_[i].values, cache_.head_dim, 0.0f);
    }
  }

  // Keys [first, first + count) of a page as f32 by dimension, lanes behind `count` zero; values row by row.
  void load_block(std::int64_t page, std::int64_t head, std::int64_t first, std::int64_t count) {
    const std::int64_t dim = cache_.head_dim, element = size_of(cache_.dtype);
    const auto row_of = [&](std::int64_t part, std::int64_t j) {
      return cache_.data.get() + (page_offset(cache_, page, part, head) + (first + j) * dim) * element;
    };
    for (std::int64_t j = 0; j < count; ++j)  // values_ as a place for the keys' rows, before it holds values
      load_row(kernels_, row_of(0, j), cache_.k_scale, cache_.dtype, dim, values_ + j * dim);
    const std::int64_t lanes = (count + 15) / 16 * 16;
    std::fill(values_ + count * dim, values_ + lanes * dim, 0.0f);
    kernels_.transpose(values_, lanes, dim, keys_, kKeyBlock);
    for (std::int64_t j = 0; j < count; ++j)
      load_row(kernels_, row_of(1, j), cache_.v_scale, cache_.dtype, dim, values_ + j * dim);
  }

  const KernelTable& kernels_;
  const KvPages& cache_;
  const float scale_;
  float *keys_, *values_, *queries_;
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
