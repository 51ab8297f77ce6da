#include "server/http/wake_queue.h"

#include <boost/asio/post.hpp>

#include "server/http/connection.h"

namespace strata::http {

void Waker::wake() {
  if (!queued_.exchange(true)) queue_.push(shared_from_this());
}

void WakeQueue::push(std::shared_ptr<Waker> waker) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = woken_.empty();
    woken_.push_back(std::move(waker));
  }
  if (first) boost::asio::post(io_, [this] { drain(); });
}

void WakeQueue::drain() {
  {
    const std::lock_guard lock(mutex_);
    draining_.swap(woken_);
  }
  for (const std::shared_ptr<Waker>& waker : draining_) {
    // Cleared first: news that come while the handler looks wake it again.
    waker->queued_.store(false);
    if (const std::shared_ptr<Connection> connection = waker->connection_.lock()) connection->wake();
  }
  draining_.clear();
}

}  // namespace strata::http
