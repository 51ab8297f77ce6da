#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "base/error.h"
#include "base/processors.h"

namespace strata {
namespace {

// Calls follow each other within a token's time while tokens are made: spin that long before sleeping. To wake a
// sleeper costs the caller several microseconds, in a virtual machine more.
constexpr std::chrono::microseconds kSpinTime{400};
// Between looks at the clock, when it also lets others run: on a busy machine the caller itself may wait for this
// processor.
constexpr int kSpinsPerLook = 64;
// The caller waits for a worker in the middle of an item: not for long, unless that worker was put aside by others'
// programs, and then it needs this processor.
constexpr int kSpinsForOthers = 200;

// `state_`: the number of workers inside, whether the round still takes workers in, whether all is over, and the
// round's number. One word, so that those who spin read one cache line that changes with it alone.
constexpr std::uint64_t kInside = 0xffff, kOpen = 0x10000, kStop = 0x20000, kRound = 0x40000;

std::uint64_t round_of(std::uint64_t state) { return state / kRound; }
bool is_open(std::uint64_t state) { return (state & kOpen) != 0; }

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads, bool pinned) : pinned_(pinned) {
  if (threads < 1 || threads > 1024)
    throw Error(ErrorCode::usage, "--threads: expected 1 to 1024, found " + std::to_string(threads));
  if (pinned && processors().empty())
    throw Error(ErrorCode::usage, "--pin: this system doesn't say which processors there are");
  runs_ = std::vector<Run>(static_cast<std::size_t>(threads));
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  state_ |= kStop;
  {
    const std::lock_guard lock(mutex_);  // none may miss it between its last look and its sleep
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::run(std::int64_t count, FunctionRef<void(std::int64_t, int)> body, std::int64_t alone) {
  if (workers_.empty() || count <= std::max<std::int64_t>(alone, 1)) {
    for (std::int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  body_ = &body;
  failure_ = nullptr;
  for (std::int64_t i = 0; i < size(); ++i) {
    Run& r = runs_[static_cast<std::size_t>(i)];
    r.next.store(i * count / size(), std::memory_order_relaxed);
    r.end = (i + 1) * count / size();
  }
  state_.store((round_of(state_.load(std::memory_order_relaxed)) + 1) * kRound | kOpen);
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  drain(0);
  // Who has not come by now would find nothing to do: only those inside are waited for.
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kInside) != 0; ++spins)
    spins < kSpinsForOthers ? pause() : std::this_thread::yield();
  if (failure_) std::rethrow_exception(failure_);
}

void ThreadPool::drain(int worker) {
  try {
    for (int i = 0; i < size(); ++i) {
      Run& r = runs_[static_cast<std::size_t>((worker + i) % size())];
      if (r.next.load(std::memory_order_relaxed) >= r.end) continue;
      for (std::int64_t item = r.next++; item < r.end; item = r.next++) (*body_)(item, worker);
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    for (Run& r : runs_) r.next = r.end;
  }
}

void ThreadPool::pin(int worker) const {
  if (pinned_) pin_to_processor(processors()[static_cast<std::size_t>(worker) % processors().size()]);
}

void ThreadPool::pin_caller() const {
  static thread_local const ThreadPool* of = nullptr;  // that this thread was pinned for
  if (of == this) return;
  of = this;
  pin(0);
}

void ThreadPool::work(int worker) {
  pin(worker);
  std::uint64_t seen = 0;
  const auto news = [&](std::uint64_t state) {
    return (state & kStop) != 0 || (is_open(state) && round_of(state) != seen);
  };
  while (true) {
    std::uint64_t state = state_.load(std::memory_order_acquire);
    const auto asleep_at = std::chrono::steady_clock::now() + kSpinTime;
    for (int spins = 1; !news(state); ++spins) {
      if (spins % kSpinsPerLook == 0) {
        if (std::chrono::steady_clock::now() >= asleep_at) break;
        std::this_thread::yield();
      }
      pause();
      state = state_.load(std::memory_order_acquire);
    }
    if (!news(state)) {
      std::unique_lock lock(mutex_);
      ++sleepers_;
      wake_.wait(lock, [&] { return news(state_.load()); });
      --sleepers_;
      continue;
    }
    if ((state & kStop) != 0) return;
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
    seen = round_of(state);
    drain(worker);
    state_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

int available_threads() {
  return processors().empty() ? static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))
                              : static_cast<int>(processors().size());
}

}  // namespace strata
