// A persistent pool of threads for loops whose parts don't depend on each other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace strata {

/// Refers to a callable for the length of a call, without allocating.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(F&& f)  // NOLINT(google-explicit-constructor): made at call sites from lambdas
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

/// `threads` workers, the caller of `run` being the first. Each begins with a contiguous run of the items and then
/// takes single ones of the others' runs, so which worker does which item is left open: an item's result must not
/// depend on it (that is how thread counts leave the bits alone). Workers spin for some 400 us after a call, then
/// sleep. Nobody waits for a worker that has not begun: on a busy machine the others do its part.
class ThreadPool {
 public:
  /// `pinned`: each worker runs on a processor of its own (of processors(), from the second on; pin_caller() is for the
  /// first), those of a core after all cores have one. Throws Error{usage} unless 1 <= threads <= 1024, and where
  /// threads can't be pinned.
  explicit ThreadPool(int threads, bool pinned = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  bool pinned() const { return pinned_; }

  /// Pins the calling thread, which calls `run` from now on, to the first processor, if the pool is pinned. Cheap when
  /// called again. Threads that it starts afterwards inherit its processor.
  void pin_caller() const;

  /// Calls body(item, worker) once for every item in [0, count), 0 <= worker < size(), and returns when all are done.
  /// The caller does up to `alone` items by itself: as many as take less time than to share them (a microsecond).
  /// An exception of a body is thrown here after the others have finished. Not reentrant; one caller at a time.
  void run(std::int64_t count, FunctionRef<void(std::int64_t item, int worker)> body, std::int64_t alone = 1);

 private:
  // What is left of a worker's own items.
  struct alignas(64) Run {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  void pin(int worker) const;
  void work(int worker);
  void drain(int worker);

  const bool pinned_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Run> runs_;  // one a worker
  alignas(64) std::atomic<std::uint64_t> state_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  const FunctionRef<void(std::int64_t, int)>* body_ = nullptr;
  std::exception_ptr failure_;
};

/// Threads that this process may run on: as many as processors().
int available_threads();

}  // namespace strata
