// What the server asks of the program behind it: whether to take a request, the answer, and words for what goes wrong.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "server/http/request.h"
#include "server/http/response.h"
#include "server/http/task.h"

namespace strata::http {

class Exchange;

/// All calls come on the I/O thread and must not block it.
class Service {
 public:
  virtual ~Service() = default;

  /// Judges a head, before any of the body is read; nothing: go on.
  virtual std::optional<Response> refuse(const Request& head) = 0;
  /// Answers. If it throws or returns without an answer, the client gets 500.
  virtual Task<> handle(Exchange& exchange) = 0;
  /// The response to what the HTTP layer itself refuses; `head`: nullptr if there is none.
  virtual Response refused(const Refusal& refusal, const Request* head) = 0;

  struct Finished {
    const Request* head = nullptr;  // nullptr: the head wasn't readable
    int status = 0;                 // 0: the client went before there was one
    std::int64_t request_bytes = 0, response_bytes = 0;
    std::chrono::steady_clock::duration duration{};
    bool client_gone = false, client_slow = false;
  };
  virtual void finished(const Finished& finished) = 0;
};

}  // namespace strata::http
