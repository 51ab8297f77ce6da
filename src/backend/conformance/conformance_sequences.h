// Steps of several sequences for the conformance tests: how tokens are cut into batches, and where their state lies.
#pragma once

#include "backend/conformance/conformance_support.h"

namespace strata::conformance {

inline constexpr std::int64_t kPage = 64;

/// A matrix [length, columns] for each sequence.
using Streams = std::vector<Floats>;

inline Streams random_streams(const std::vector<std::int64_t>& lengths, std::int64_t cols, std::uint32_t seed,
                              double scale = 1) {
  Streams streams;
  for (const std::int64_t n : lengths) streams.push_back(random(n, cols, seed += 1000, scale));
  return streams;
}
inline Streams unset_streams(const std::vector<std::int64_t>& lengths, std::int64_t cols) {
  Streams streams;
  for (const std::int64_t n : lengths) streams.emplace_back(n, cols);
  return streams;
}

/// A sequence's next `count` tokens.
struct Part {
  std::size_t sequence;
  std::int64_t count;
};
/// One entry a step: its sequences in the order of their rows.
using Steps = std::vector<std::vector<Part>>;

inline Steps one_sequence_a_step(const std::vector<std::int64_t>& lengths) {
  Steps steps;
  for (std::size_t s = 0; s < lengths.size(); ++s) steps.push_back({{s, lengths[s]}});
  return steps;
}
/// All that have tokens left, `chunk` tokens of each, the last sequence first in every second step.
inline Steps chunks_together(std::vector<std::int64_t> left, std::int64_t chunk) {
  Steps steps;
  while (std::any_of(left.begin(), left.end(), [](std::int64_t n) { return n > 0; })) {
    std::vector<Part> step;
    for (std::size_t s = 0; s < left.size(); ++s) {
      const std::int64_t count = std::min(chunk, left[s]);
      if (count > 0) step.push_back({s, count});
      left[s] -= count;
    }
    if (steps.size() % 2) std::reverse(step.begin(), step.end());
    steps.push_back(step);
  }
  return steps;
}
/// The first sequence decodes while the others prefill in one go, one after the other.
inline Steps decode_beside_prefill(std::vector<std::int64_t> left) {
  Steps steps;
  for (std::size_t s = 1; s < left.size(); ++s) {
    if (left[0] > 1)
      steps.push_back({{0, 1}, {s, left[s]}});
    else
      steps.push_back({{s, left[s]}});
    if (left[0] > 1) --left[0];
  }
  if (left[0] > 0) steps.push_back({{0, left[0]}});
  return steps;
}

/// Where the state of sequences lies, in kSlots slots and kPages pages.
struct Places {
  std::vector<std::int32_t> slots;
  std::vector<std::vector<std::int32_t>> pages;
};
inline constexpr std::int64_t kSlots = 8, kPages = 40;
/// 3 sequences of at most 5 pages.
inline const Places& in_order() {
  static const Places places{{0, 1, 2}, {{0, 1, 2, 3, 4}, {5, 6, 7, 8, 9}, {10, 11, 12, 13, 14}}};
  return places;
}
inline const Places& shuffled() {
  static const Places places{{6, 0, 3}, {{15, 3, 9, 0, 12}, {7, 14, 1, 11, 4}, {2, 13, 5, 10, 6}}};
  return places;
}

/// One sequence, of up to 37 pages.
inline Places one_of_many_pages() {
  Places places{{5}, {{}}};
  for (std::int32_t i = 0; i < 37; ++i) places.pages[0].push_back((i * 11 + 3) % 37 + 1);
  return places;
}

/// The rows of one step and the streams that they come from.
struct StepRows {
  std::vector<SequenceRows> sequences;
  std::vector<std::pair<std::size_t, std::int64_t>> rows;  // (sequence, position)

  Floats take(const Streams& streams) const {
    Floats m(std::ssize(rows), streams[0].cols);
    std::int64_t r = 0;
    for (const auto& [s, t] : rows) std::copy_n(&streams[s].at(t, 0), m.cols, &m.at(r++, 0));
    return m;
  }
  void give(const Floats& m, Streams& streams) const {
    std::int64_t r = 0;
    for (const auto& [s, t] : rows) std::copy_n(&m.at(r++, 0), m.cols, &streams[s].at(t, 0));
  }
};

/// Calls op(batch, rows) for every step.
template <class Op>
void run_steps(Backend& backend, const Steps& steps, const Places& places, Op&& op) {
  std::vector<std::int64_t> seen(places.slots.size());
  for (const auto& parts : steps) {
    StepRows step;
    for (const Part& p : parts) {
      step.sequences.push_back(
          {std::ssize(step.rows), p.count, seen[p.sequence], places.slots[p.sequence], places.pages[p.sequence]});
      for (std::int64_t i = 0; i < p.count; ++i) step.rows.push_back({p.sequence, seen[p.sequence]++});
    }
    const std::vector<TokenId> tokens(step.rows.size());
    op(backend.stage({tokens, step.sequences, {}}), step);
  }
}

/// What an op made of its streams, and the state that it left, sequence by sequence.
struct Outcome {
  Streams out;
  std::vector<std::vector<std::byte>> state;
};

inline void expect_same_outcome(const Outcome& found, const Outcome& expected) {
  for (std::size_t s = 0; s < expected.out.size(); ++s) {
    SCOPED_TRACE("sequence " + std::to_string(s));
    expect_same_bits(found.out[s], expected.out[s]);
    EXPECT_TRUE(found.state[s] == expected.state[s]) << "the state left behind";
  }
}

/// The law, for an op with state: run(backend, steps, places) gives every sequence the same bits alone or beside
/// others, in one go or in chunks, in any slots and pages, with 1, 2 or 3 threads.
template <class Run>
void expect_sequences_stand_alone(const Target& target, const std::vector<std::int64_t>& lengths, Run&& run) {
  const Outcome alone = run(*make_target(target, 1), one_sequence_a_step(lengths), in_order());
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  for (const int threads : {1, 2, 3}) {
    const auto backend = make_target(target, threads);
    for (const std::int64_t chunk : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, std::int64_t{17}, longest}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, chunks of " + std::to_string(chunk));
      expect_same_outcome(run(*backend, chunks_together(lengths, chunk), shuffled()), alone);
    }
    SCOPED_TRACE(std::to_string(threads) + " threads, decode beside prefill");
    expect_same_outcome(run(*backend, decode_beside_prefill(lengths), in_order()), alone);
  }
}

/// Slots of `bytes` bytes each: those of sequences hold `state`, the others bytes that nothing may change.
inline std::vector<std::byte> slots_of(const std::vector<std::vector<std::byte>>& state, const Places& places) {
  const std::size_t bytes = state[0].size();
  std::vector<std::byte> slots(bytes * kSlots, std::byte{0xa5});
  for (std::size_t s = 0; s < state.size(); ++s)
    std::copy(state[s].begin(), state[s].end(), slots.begin() + std::ptrdiff_t(bytes) * places.slots[s]);
  return slots;
}
/// The slots of `count` sequences; checks that the others are as slots_of left them.
inline std::vector<std::vector<std::byte>> states_in(const std::vector<std::byte>& slots, const Places& places,
                                                     std::size_t count) {
  const std::size_t bytes = slots.size() / kSlots;
  std::vector<std::vector<std::byte>> state;
  for (std::size_t s = 0; s < count; ++s) {
    const auto begin = slots.begin() + std::ptrdiff_t(bytes) * places.slots[s];
    state.emplace_back(begin, begin + std::ptrdiff_t(bytes));
  }
  EXPECT_TRUE(slots_of(state, places) == slots) << "a slot of no sequence was written";
  return state;
}

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}
template <class T>
std::vector<T> values_of(const std::vector<std::byte>& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace strata::conformance
