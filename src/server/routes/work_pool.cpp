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
  const auto done = std::make_shared<std::atomic<bool>>(false);
  pool.run([work = std::move(work), done, waker = exchange.waker()] {
    work();
    done->store(true, std::memory_order_release);
    waker->wake();
  });
  while (!done->load(std::memory_order_acquire)) {
    if (exchange.gone()) co_return false;
    co_await exchange.wake_up();
  }
  co_return !exchange.gone();
}

}  // namespace strata
