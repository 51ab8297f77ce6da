// Bytes of a connection to requests; what two parsers could read in two ways is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/chunked_body.h"
#include "server/http/limits.h"
#include "server/http/request.h"

namespace strata::http {

/// The head of a request, from its first byte through the empty line. Refuses what RFC 9112 leaves to guessing and
/// request smuggling lives on: bare CR or LF, folded lines, space before a colon, control characters, more than one
/// Host, Content-Length or Transfer-Encoding, both of the latter, a length that is no plain number.
struct Head {
  std::optional<Refusal> refusal;
  Request request;  // without body and id
};
Head parse_head(std::string_view bytes, const Limits& limits);

/// "[A-Za-z0-9._-]{1,64}".
bool is_plain_name(std::string_view text);

/// One request, fed as bytes come.
class RequestReader {
 public:
  enum class State { head, body, done, refused };

  explicit RequestReader(const Limits& limits);
  RequestReader(RequestReader&&) = delete;

  /// Takes from `bytes`, which begin where it left off, and returns how many it took; stops where the head ends and
  /// where the request ends. What it leaves is to come again, with more behind it.
  std::size_t take(std::string_view bytes);
  State state() const { return state_; }
  const Refusal& refusal() const { return *refusal_; }
  /// From State::body on, its body from State::done on.
  Request& request() { return request_; }

 private:
  std::size_t take_head(std::string_view bytes);
  std::size_t take_body(std::string_view bytes);
  void refuse(Refusal refusal);

  const Limits& limits_;
  State state_ = State::head;
  std::size_t searched_ = 0;  // of the head, without its end
  std::optional<Refusal> refusal_;
  Request request_;
  ChunkedBody chunks_;
};

}  // namespace strata::http
