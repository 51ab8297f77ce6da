// Threads for what would hold up the I/O thread: parsing, rendering and tokenising large requests, compiling schemas.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "server/http/exchange.h"
#include "server/http/task.h"

namespace strata {

class WorkPool {
 public:
  explicit WorkPool(int threads);
  /// Finishes what has been given to it.
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  /// Runs `work` on one of the threads; it must not throw.
  void run(std::function<void()> work);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool closed_ = false;
  std::vector<std::jthread> threads_;
};

/// Runs `work` in the pool while the handler of `exchange` waits. False if the client went away before it was done:
/// then `work` is dropped if it hasn't begun, and may still be running if it has, so it must own all it touches. It
/// must not throw.
http::Task<bool> run_in(WorkPool& pool, http::Exchange& exchange, std::function<void()> work);

}  // namespace strata
