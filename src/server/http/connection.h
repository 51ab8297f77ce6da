// One client's connection: requests in, responses out, one after the other, until either side has enough.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>  // Asio 1.74 forgets it

#include "server/http/exchange.h"
#include "server/http/limits.h"
#include "server/http/request_reader.h"
#include "server/http/service.h"
#include "server/http/task.h"
#include "server/http/wake_queue.h"

namespace strata::http {

/// Costs no thread, and no buffer while it is idle. Its one coroutine waits for whatever comes first: bytes, room,
/// tokens, a deadline, the client's end. All on the I/O thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Clock = std::chrono::steady_clock;
  using OnClosed = std::function<void(Connection&)>;

  /// Takes `socket`, a connected non-blocking stream socket.
  Connection(boost::asio::io_context& io, int socket, Service& service, const Limits& limits, WakeQueue& wakes,
             OnClosed on_closed);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  /// Closes as soon as no request is being read or answered.
  void close_when_idle();
  /// As if the client had gone.
  void abort();
  /// Looks at deadlines, several times a second.
  void sweep(Clock::time_point now);
  void wake() { signal_.set(); }
  bool idle() const { return phase_ == Phase::idle; }

 private:
  friend class Exchange;
  enum class Phase { idle, head, body, handling, flushing, lingering, closed };
  enum class Read { bytes, end, expired, closing };

  Task<> session();
  Task<bool> serve_one();
  Task<Read> read_request(RequestReader& reader, Phase phase);
  Task<bool> read_body(RequestReader& reader);
  Task<Read> read_some();
  Task<> give_way();
  Task<> refuse(Response response, Request& head);
  Task<> handle(Request& request);
  Task<> flush();
  Task<> linger();
  void respond(const Request& request, const Response& response, bool keep_alive);
  void finish(const Request* head, int status);

  void enter(Phase phase, Clock::time_point deadline);
  void wait_readable();
  void on_readable();
  void wait_writable();
  /// Gives the socket what it takes of the send buffer.
  void push();
  void lost();
  void close();
  std::size_t pending() const { return out_.size() - sent_; }
  bool drained() const { return pending() <= static_cast<std::size_t>(limits_.send_buffer) / 2; }

  boost::asio::posix::stream_descriptor socket_;
  Service& service_;
  const Limits& limits_;
  WakeQueue& wakes_;
  OnClosed on_closed_;
  Task<> session_;
  Signal signal_;
  std::shared_ptr<Waker> waker_;

  Phase phase_ = Phase::idle;
  Clock::time_point deadline_ = Clock::time_point::max(), wake_at_ = Clock::time_point::max();
  Clock::time_point request_began_{}, last_sent_{}, last_progress_{};
  std::string in_, out_;
  std::size_t sent_ = 0;        // of out_
  std::size_t turn_bytes_ = 0;  // read since others had their turn
  std::int64_t request_bytes_ = 0, response_bytes_ = 0;
  bool waits_readable_ = false, waits_writable_ = false;
  bool expired_ = false, closing_ = false, gone_ = false, slow_ = false, keep_alive_ = false, gave_way_ = false;
};

}  // namespace strata::http
