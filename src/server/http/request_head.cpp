// The head of a request: what is refused, and what is made of the rest.
#include <algorithm>
#include <charconv>

#include "server/http/request_reader.h"

namespace strata::http {
namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Refusal bad(std::string message) { return {400, "bad_request", std::move(message)}; }

/// "METHOD target HTTP/1.x".
std::optional<Refusal> parse_request_line(std::string_view line, const Limits& limits, Request& request) {
  const std::size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first)))
    return bad("the request line is not METHOD TARGET HTTP/1.1");
  request.method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (version.size() != 8 || !version.starts_with("HTTP/")) return bad("the request line does not end with HTTP/1.1");
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return Refusal{505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  request.minor_version = version.back() - '0';
  if (static_cast<std::int64_t>(target.size()) > limits.target_bytes)
    return Refusal{414, "uri_too_long", "the target is longer than " + std::to_string(limits.target_bytes) + " bytes"};
  if (target.find_first_of(" \t#") != std::string_view::npos) return bad("the target has a space or # in it");
  if (target.starts_with("http://")) {  // absolute form, as proxies get it
    const std::size_t slash = target.find('/', 7);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/') && !(target == "*" && request.method == "OPTIONS"))
    return bad("the target does not begin with /");
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  return std::nullopt;
}

/// What the fields say about the body's length and the connection.
std::optional<Refusal> frame(Request& request, const Limits& limits) {
  int hosts = 0, lengths = 0, encodings = 0;
  request.keep_alive = request.minor_version == 1;
  for (const auto& [name, value] : request.fields) {
    if (name == "host") {
      ++hosts;
    } else if (name == "content-length") {
      ++lengths;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), request.content_length);
      if (error != std::errc() || end != value.data() + value.size() || value[0] == '-')
        return bad("Content-Length is not a plain number");
    } else if (name == "transfer-encoding") {
      ++encodings;
      request.chunked = true;
      if (lower(value) != "chunked")
        return Refusal{501, "transfer_encoding", "the only Transfer-Encoding understood here is chunked"};
    } else if (name == "connection") {
      for (std::string_view rest = value; !rest.empty();) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        const std::string option = lower(trimmed(rest.substr(0, comma)));
        if (option == "close") request.keep_alive = false;
        if (option == "keep-alive" && request.minor_version == 0) request.keep_alive = true;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    } else if (name == "expect") {
      if (lower(value) != "100-continue") return bad("the only Expect understood here is 100-continue");
      request.expects_continue = request.minor_version == 1;
    }
  }
  if (hosts > 1 || (hosts == 0 && request.minor_version == 1)) return bad("a request has exactly one Host");
  if (lengths > 1) return bad("Content-Length is given more than once");
  if (encodings > 1) return bad("Transfer-Encoding is given more than once");
  if (lengths > 0 && encodings > 0) return bad("Content-Length and Transfer-Encoding exclude each other");
  if (encodings > 0 && request.minor_version == 0) return bad("HTTP/1.0 knows no Transfer-Encoding");
  if (request.content_length > limits.body_bytes) {
    return Refusal{413, "body_too_large",
                   "the body has " + std::to_string(request.content_length) + " bytes; at most " +
                       std::to_string(limits.body_bytes) + " are taken (--max-body)"};
  }
  return std::nullopt;
}

std::optional<Refusal> parse(std::string_view bytes, const Limits& limits, Request& request) {
  bytes.remove_suffix(2);  // the empty line
  bool first_line = true;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find("\r\n");
    if (end == std::string_view::npos) return bad("a line does not end with CR LF");
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end + 2);
    for (const char c : line) {
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
        return bad("the head has a control character in it");
    }
    if (std::exchange(first_line, false)) {
      if (auto refusal = parse_request_line(line, limits, request)) return refusal;
      continue;
    }
    if (line.front() == ' ' || line.front() == '\t') return bad("a header field is folded over two lines");
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
      return bad("a header field is not NAME: VALUE");
    if (static_cast<std::int64_t>(request.fields.size()) >= limits.header_fields) {
      return Refusal{431, "headers_too_large",
                     "a request has at most " + std::to_string(limits.header_fields) + " header fields"};
    }
    request.fields.emplace_back(lower(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
  }
  return frame(request, limits);
}

}  // namespace

bool is_plain_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
           c == '-';
  });
}

Head parse_head(std::string_view bytes, const Limits& limits) {
  Head head;
  head.refusal = parse(bytes, limits, head.request);
  return head;
}

}  // namespace strata::http
