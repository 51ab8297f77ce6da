// What an engine has done so far and is doing, for metrics and for a watchdog.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "state/prefix_cache.h"

namespace strata {

/// Upper bounds of the buckets of EngineStats::step_tokens; the last bucket has none.
inline constexpr std::array<std::int64_t, 13> kStepTokenBounds = {1,   8,    16,   32,   64,   128,  256,
                                                                  512, 1024, 2048, 4096, 8192, 16384};

/// What a step had.
enum class StepPhase { decode, prefill, mixed };
inline constexpr std::size_t kStepPhases = 3;
/// "decode", "prefill", "mixed".
std::string_view name_of(StepPhase phase);

/// Counts of durations by bucket: `kBounds` are the upper bounds, in seconds; the last bucket has none.
template <const auto& kBounds>
struct DurationCounts {
  std::array<std::int64_t, kBounds.size() + 1> counts = {};
  double sum = 0;  // seconds

  void add(std::chrono::steady_clock::duration duration) {
    const double seconds = std::chrono::duration<double>(duration).count();
    ++counts[static_cast<std::size_t>(std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin())];
    sum += seconds;
  }
};

inline constexpr std::array<double, 13> kStepSeconds = {.0005, .001, .0025, .005, .01, .025, .05,
                                                        .1,    .25,  .5,    1,    2.5, 10};
inline constexpr std::array<double, 10> kMaskSeconds = {.00001, .00005, .0001, .00025, .0005,
                                                        .001,   .0025,  .005,  .01,    .05};

/// Numbers are each right at some moment of the call, not all at the same one. Counts are since the engine was made.
struct EngineStats {
  // Requests.
  std::int64_t running = 0, waiting = 0, parked = 0;  // parked: started, and waiting for memory with its state aside
  std::int64_t paused = 0;                            // by Engine::pause; each is also one of the three above
  std::int64_t queued_tokens = 0;                     // of the prompts of those that wait
  std::int64_t started = 0;
  std::int64_t finished_stop = 0, finished_length = 0, failed = 0, numerical_errors = 0;
  std::int64_t cancelled_in_queue = 0, cancelled_in_prefill = 0, cancelled_in_decode = 0;
  std::int64_t refused = 0;      // submits that threw Error{busy}
  std::int64_t preemptions = 0;  // times that a sequence was parked

  // Memory.
  std::int64_t kv_pages_used = 0, kv_pages_total = 0;  // used: also by what is remembered
  std::int64_t slots_used = 0, slots_total = 0;
  std::int64_t snapshots = 0, snapshot_bytes = 0;  // what is remembered; a page that several share counts once
  std::int64_t snapshots_skipped = 0;              // asked for, but there was no slot or page

  // Work.
  std::int64_t steps = 0;
  std::int64_t prompt_tokens = 0;         // computed
  std::int64_t cached_prompt_tokens = 0;  // of prompts, taken from a remembered or given state
  std::int64_t generated_tokens = 0;
  std::array<std::int64_t, kStepTokenBounds.size() + 1> step_tokens = {};  // steps by their tokens
  /// How long steps took, by StepPhase: from the end of the one before, or from when it was enqueued, until its tokens
  /// were on the host.
  std::array<DurationCounts<kStepSeconds>, kStepPhases> step_times = {};
  DurationCounts<kMaskSeconds> mask_times = {};                // of an answer's constraints, a token
  std::int64_t prefix_queries = 0, prefix_hits = 0;            // starts that looked for a remembered state
  std::array<std::int64_t, kPrefixMisses> prefix_misses = {};  // by PrefixMiss
  std::int64_t snapshots_evicted = 0;

  // Heartbeat. The engine hangs if there is work and last_step lies long ago: it is also set when work comes to an idle
  // engine. What is paused is no work.
  std::chrono::steady_clock::time_point last_step = {};
  bool has_work = false;
};

}  // namespace strata
