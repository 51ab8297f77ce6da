// Attention of queries to one block of keys, with the running softmax (Milakov & Gimelshein 2018, arXiv:1805.02867).

// Keys row by row to keys by dimension: out[d][j] = in[j][d] for `rows` (a multiple of 16) rows of `dim`.
void transpose(const float* in, std::int64_t rows, std::int64_t dim, float* out, std::int64_t out_stride) {
  for (std::int64_t j = 0; j < rows; j += kNativeLanes) {
    std::int64_t d = 0;
    for (; d + kNativeLanes <= dim; d += kNativeLanes)
      transpose_square(in + j * dim + d, dim, out + d * out_stride + j, out_stride);
    for (; d < dim; ++d)
      for (std::int64_t i = j; i < j + kNativeLanes; ++i) out[d * out_stride + i] = in[i * dim + d];
  }
}

// Scores of kQueries queries for kVectors vectors of keys, each summed over pairs of d in ascending order.
template <int kQueries, int kVectors>
INLINE void score_keys(const KeyBlock& block, std::int64_t j, float scale, const QueryState* queries,
                       float (*scores)[kKeyBlock]) {
  F16 sum[kQueries][kVectors];
  const Activation* query[kQueries];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
    query[q] = static_cast<const Activation*>(queries[q].query);
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sum[q][i] = splat(0.0f);
  }
  const unsigned char* keys = reinterpret_cast<const unsigned char*>(block.keys + j);
  for (std::int64_t d = 0; d < block.head_dim; d += 2, keys += 4 * block.keys_stride) {
    U16 key[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) load_words(key[i], keys + 64 * i);
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sum[q][i] = add_pair(key[i], query[q] + d, sum[q][i]);
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) store(scores[q] + j + 16 * i, sum[q][i] * splat(scale));
}

// Turns a query's scores into weights relative to its largest so far; returns what its older sums shrink by.
INLINE float weigh(QueryState& q, float* scores) {
  const float lowest = -__builtin_inff();
  F16 largest = splat(q.largest);
  for (std::int64_t j = 0; j < q.visible; j += 16) {
    F16 s;
    load(s, scores + j);
    largest = max(largest, keep_first(s, q.visible - j, lowest));
  }
  const float now = max_of_lanes(largest);
  float shrink[16];
  store(shrink, exp(splat(q.largest) - splat(now)));
  F16 total = splat(0.0f);
  for (std::int64_t j = 0; j < q.visible; j += 16) {
    F16 s;
    load(s, scores + j);
    const F16 weight = keep_first(exp(s - splat(now)), q.visible - j, 0.0f);
    total = total + weight;
    store(scores + j, weight);
  }
  q.total = q.total * shrink[0] + sum_of_lanes(total);
  q.largest = now;
  return shrink[0];
}

// values = values * shrink + sum over the visible keys, ascending, of weight * value; kChunks vectors of dimensions
// from d on, of kQueries queries that see the same keys.
template <int kQueries, int kChunks>
INLINE void add_values(const KeyBlock& block, const QueryState* q, const float (*weights)[kKeyBlock],
                       const float* shrink, std::int64_t d) {
  F16 sum[kQueries][kChunks];
  const std::int64_t left = block.head_dim - d;
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) {
      load_n(sum[i][c], q[i].values + d + 16 * c, left - 16 * c);
      sum[i][c] = sum[i][c] * splat(shrink[i]);
    }
  const std::uint16_t* values = block.values + d;
  std::int64_t ahead = d * block.row_bytes / block.head_dim;
  for (std::int64_t j = 0; j < q[0].visible; ++j, values += block.head_dim) {
    if (block.next_keys) {
      __builtin_prefetch(block.next_keys + ahead, 0, 2);
      __builtin_prefetch(block.next_values + ahead, 0, 2);
      ahead += block.row_bytes;
    }
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) {
      F16 v;
      if constexpr (kChunks > 1)
        load_bf16(v, values + 16 * c);
      else
        v = load_bf16_n(values, left);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i) sum[i][c] = fma(splat(weights[i][j]), v, sum[i][c]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) store_n(q[i].values + d + 16 * c, sum[i][c], left - 16 * c);
}

template <int kQueries>
INLINE void add_all_values(const KeyBlock& block, const QueryState* q, const float (*weights)[kKeyBlock],
                           const float* shrink) {
  std::int64_t d = 0;
  for (; d + 16 * kValueChunks <= block.head_dim; d += 16 * kValueChunks)
    add_values<kQueries, kValueChunks>(block, q, weights, shrink, d);
  for (; d < block.head_dim; d += 16) add_values<kQueries, 1>(block, q, weights, shrink, d);
}

template <int kQueries>
INLINE void attend_few(const KeyBlock& block, float scale, QueryState* queries) {
  alignas(64) float scores[kQueries][kKeyBlock];
  float shrink[kQueries] = {};
  std::int64_t j = 0;
  for (; j + 16 * kScoreVectors <= block.count; j += 16 * kScoreVectors)
    score_keys<kQueries, kScoreVectors>(block, j, scale, queries, scores);
  for (; j < block.count; j += 16) score_keys<kQueries, 1>(block, j, scale, queries, scores);
  bool alike = true;
  for (int q = 0; q < kQueries; ++q) {
    if (queries[q].visible > 0) shrink[q] = weigh(queries[q], scores[q]);
    alike &= queries[q].visible == queries[0].visible;
  }
  if (alike && queries[0].visible > 0) return add_all_values<kQueries>(block, queries, scores, shrink);
  for (int q = 0; q < kQueries; ++q)
    if (queries[q].visible > 0) add_all_values<1>(block, queries + q, scores + q, shrink + q);
}

void attend(const KeyBlock& block, float scale, QueryState* queries, std::int64_t count) {
  KeyBlock b = block;
  constexpr int kHalf = kScoreQueries / 2;
  for (std::int64_t q = 0; q < count;) {
    const std::int64_t left = count - q;
    if (left >= kScoreQueries)
      attend_few<kScoreQueries>(b, scale, queries + q), q += kScoreQueries;
    else if (left >= kHalf)
      attend_few<kHalf>(b, scale, queries + q), q += kHalf;
    else
      attend_few<1>(b, scale, queries + q), ++q;
    b.next_keys = nullptr;  // asked for
  }
}
