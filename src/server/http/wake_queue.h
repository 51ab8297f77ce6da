// How other threads wake handlers: one message to the I/O thread for all that are woken until it looks.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <utility>  // Asio 1.74 forgets it
#include <vector>

namespace strata::http {

class Connection;
class WakeQueue;

/// One handler's. `wake` may be called by any thread, costs next to nothing while a wake-up is under way, and never
/// blocks for longer than a push into a vector.
class Waker : public std::enable_shared_from_this<Waker> {
 public:
  Waker(WakeQueue& queue, std::weak_ptr<Connection> connection) : queue_(queue), connection_(std::move(connection)) {}
  void wake();

 private:
  friend class WakeQueue;
  WakeQueue& queue_;
  std::weak_ptr<Connection> connection_;
  std::atomic<bool> queued_ = false;
};

/// Must outlive all use of its wakers.
class WakeQueue {
 public:
  explicit WakeQueue(boost::asio::io_context& io) : io_(io) {}

 private:
  friend class Waker;
  void push(std::shared_ptr<Waker> waker);
  void drain();

  boost::asio::io_context& io_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Waker>> woken_;  // under mutex_
  std::vector<std::shared_ptr<Waker>> draining_;
};

}  // namespace strata::http
