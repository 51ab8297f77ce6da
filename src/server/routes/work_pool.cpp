#include "server/routes/work_pool.h"

#include <atomic>

namespace strata {

WorkPool::WorkPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { loop(); });
}

WorkPool::~WorkPool() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  wake_.notify_all();
}

void WorkPool::run(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void WorkPool::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

http::Task<bool> run_in(WorkPool& pool, http::Exchange& exchange, std::function<void()> work) {
  struct State {
    std::atomic<bool> done = false, unwanted = false;
  };
  const auto state = std::make_shared<State>();
  pool.run([work = std::move(work), state, waker = exchange.waker()] {
    if (state->unwanted.load(std::memory_order_relaxed)) return;  // its client went while it waited
    work();
    state->done.store(true, std::memory_order_release);
    waker->wake();
  });
  while (!state->done.load(std::memory_order_acquire)) {
    if (exchange.gone()) {
      state->unwanted.store(true, std::memory_order_relaxed);
      co_return false;
    }
    co_await exchange.wake_up();
  }
  co_return !exchange.gone();
}

}  // namespace strata
