#include "server/http/request_reader.h"

#include <algorithm>
#include <utility>

namespace strata::http {

RequestReader::RequestReader(const Limits& limits) : limits_(limits), chunks_(limits.body_bytes) {}

void RequestReader::refuse(Refusal refusal) {
  refusal_ = std::move(refusal);
  state_ = State::refused;
}

std::size_t RequestReader::take(std::string_view bytes) {
  switch (state_) {
    case State::head:
      return take_head(bytes);
    case State::body:
      return take_body(bytes);
    default:
      return 0;
  }
}

std::size_t RequestReader::take_head(std::string_view bytes) {
  std::size_t begin = 0;  // RFC 9112, 2.2: empty lines before a request are skipped
  while (bytes.substr(begin).starts_with("\r\n")) begin += 2;
  if (begin > 0) {
    searched_ = 0;
    return begin;
  }
  const std::size_t end = bytes.find("\r\n\r\n", searched_ > 3 ? searched_ - 3 : 0);
  const std::size_t size = end == std::string_view::npos ? bytes.size() : end + 4;
  if (static_cast<std::int64_t>(size) > limits_.header_bytes) {
    refuse({431, "headers_too_large",
            "the head of a request has at most " + std::to_string(limits_.header_bytes) + " bytes"});
    return 0;
  }
  if (end == std::string_view::npos) {
    // Who ends lines with LF alone may have sent all it has.
    for (std::size_t at = bytes.find('\n', searched_); at != std::string_view::npos; at = bytes.find('\n', at + 1)) {
      if (at > 0 && bytes[at - 1] == '\r') continue;
      refuse({400, "bad_request", "a line does not end with CR LF"});
      return 0;
    }
    searched_ = bytes.size();
    return 0;
  }
  Head head = parse_head(bytes.substr(0, size), limits_);
  request_ = std::move(head.request);
  if (head.refusal) {
    refuse(std::move(*head.refusal));
  } else {
    state_ = request_.has_body() ? State::body : State::done;
  }
  return size;
}

std::size_t RequestReader::take_body(std::string_view bytes) {
  if (!request_.chunked) {
    const auto left = static_cast<std::size_t>(request_.content_length) - request_.body.size();
    const std::size_t n = std::min(left, bytes.size());
    request_.body.append(bytes.substr(0, n));
    if (n == left) state_ = State::done;
    return n;
  }
  const std::size_t taken = chunks_.take(bytes, request_.body);
  switch (chunks_.state()) {
    case ChunkedBody::State::open:
      break;
    case ChunkedBody::State::done:
      state_ = State::done;
      break;
    case ChunkedBody::State::malformed:
      refuse({400, "bad_request", "the body is not in well-formed chunks"});
      break;
    case ChunkedBody::State::too_large:
      refuse({413, "body_too_large",
              "the body has more than " + std::to_string(limits_.body_bytes) + " bytes (--max-body)"});
      break;
  }
  return taken;
}

}  // namespace strata::http
