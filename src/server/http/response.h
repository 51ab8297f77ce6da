// An HTTP response, and its head as bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http/request.h"

namespace strata::http {

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};

std::string_view reason_phrase(int status);

/// Status line and fields, with date, x-request-id, connection and content-length; without `length` the body comes in
/// chunks, or to HTTP/1.0 until the connection closes.
std::string response_head(const Response& response, const Request& request, std::optional<std::int64_t> length,
                          bool keep_alive);

/// Bytes as one chunk of a chunked body; those that end it.
void append_chunk(std::string& out, std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace strata::http
