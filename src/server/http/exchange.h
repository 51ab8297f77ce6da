// A request being answered, as a handler sees it.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "server/http/request.h"
#include "server/http/response.h"
#include "server/http/task.h"
#include "server/http/wake_queue.h"

namespace strata::http {

class Connection;

/// Of one handler, on the I/O thread. Either `respond`, or `begin_stream`, any number of `send`, `end_stream`.
class Exchange {
 public:
  Exchange(Connection& connection, Request& request) : connection_(connection), request_(request) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const Request& request() const { return request_; }
  /// For a handler that needs the body but not twice.
  std::string take_body() { return std::move(request_.body); }

  /// A whole response; to HEAD without its body. At most one.
  void respond(Response response);

  /// The head of a response whose length isn't known; its body is ignored. To HEAD it is all that is sent.
  void begin_stream(Response head);
  /// More of the body. What the socket doesn't take at once waits in the send buffer.
  void send(std::string_view bytes);
  void end_stream();

  /// The client is gone, or so slow that it was cut off: nothing that is sent arrives, the handler should return.
  bool gone() const;
  /// The send buffer has reached Limits::send_buffer: send no more until it hasn't.
  bool full() const;
  /// At most half of that waits.
  bool drained() const;
  bool responded() const { return responded_; }
  /// When something was last sent.
  std::chrono::steady_clock::time_point last_sent() const;

  /// Waits for a wake-up: by `waker`, by `wake_at`, by the client going, by room in a full send buffer. May wake for
  /// nothing.
  Signal& wake_up();
  /// Wakes at `time` or up to a quarter of a second later; replaces what was set before.
  void wake_at(std::chrono::steady_clock::time_point time);
  /// Wakes this handler from any thread; does nothing once the connection is gone.
  std::shared_ptr<Waker> waker();

 private:
  friend class Connection;
  Connection& connection_;
  Request& request_;
  bool responded_ = false, streaming_ = false, ended_ = false;
  int status_ = 0;
};

}  // namespace strata::http
