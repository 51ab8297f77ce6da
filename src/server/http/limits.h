// What a client may take of the server.
#pragma once

#include <chrono>
#include <cstdint>

namespace strata::http {

struct Limits {
  std::int64_t header_bytes = 32 << 10;  // request line and fields; more: 431
  std::int64_t header_fields = 100;
  std::int64_t target_bytes = 8 << 10;               // more: 414
  std::int64_t body_bytes = 32 << 20;                // more: 413
  std::int64_t send_buffer = 1 << 20;                // bytes of one response that wait for its client
  std::int64_t max_connections = 0;                  // more are told 503 and closed; 0: the descriptor limit less 256
  std::int64_t body_rate = 16 << 10;                 // bytes a second that a body must keep up after body_timeout
  std::chrono::milliseconds header_timeout{10'000};  // from a request's first byte to its head's end; then 408
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};         // of a kept connection without a request
  std::chrono::milliseconds slow_client_timeout{30'000};  // that takes nothing of what waits for it; then it is cut off
  std::chrono::milliseconds linger{2'000};  // for which a refused body is read on, so that the client sees the refusal
};

/// Raises the soft limit of descriptors to the hard one and returns it.
std::int64_t raise_descriptor_limit();

}  // namespace strata::http
