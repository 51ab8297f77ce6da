// Accepts connections and keeps them: their number, their deadlines, their end.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>  // Asio 1.74 forgets it
#include <vector>

#include "server/http/connection.h"
#include "server/http/limits.h"
#include "server/http/listener.h"
#include "server/http/service.h"
#include "server/http/wake_queue.h"

namespace strata::http {

/// Runs on the one thread that runs `io`. `service` and `io` must outlive it.
class Server {
 public:
  Server(boost::asio::io_context& io, Service& service, const Limits& limits);
  ~Server();

  /// Begins to accept.
  void serve(std::vector<Listener> listeners);
  /// Accepts no more; connections end when their request has been answered, idle ones at once.
  void drain();
  /// Ends all connections as if their clients had gone.
  void abort();

  /// Any thread.
  std::int64_t connections() const { return open_.load(std::memory_order_relaxed); }
  std::int64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  /// Connections that were turned away because there were too many, or no descriptor was free.
  std::int64_t turned_away() const { return turned_away_.load(std::memory_order_relaxed); }
  const Limits& limits() const { return limits_; }

 private:
  struct Acceptor {
    explicit Acceptor(boost::asio::io_context& io, Listener l) : listener(std::move(l)), descriptor(io) {}
    Listener listener;
    boost::asio::posix::stream_descriptor descriptor;
  };
  void wait(Acceptor& acceptor);
  void accept_all(Acceptor& acceptor);
  void accepted(int socket);
  void turn_away(int socket);
  void schedule_sweep();

  boost::asio::io_context& io_;
  Service& service_;
  Limits limits_;
  WakeQueue wakes_;
  std::list<Acceptor> acceptors_;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  boost::asio::steady_timer sweep_timer_, accept_timer_;
  int spare_descriptor_ = -1;  // given up for a moment to turn a client away when there is no other
  bool draining_ = false;
  std::atomic<std::int64_t> open_ = 0, accepted_ = 0, turned_away_ = 0;
};

}  // namespace strata::http
