// Bytes of a connection, split anywhere: they are read in one way however they are split, what two parsers could read
// in two ways reaches no handler, and every answer is a well-formed response.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <charconv>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "server/http/connection.h"
#include "server/http/request_reader.h"

namespace {

using namespace strata;
using namespace strata::http;

/// Sizes of pieces, drawn from the bytes themselves, so that seeds are plain requests.
class Pieces {
 public:
  explicit Pieces(std::string_view bytes) {
    for (const char c : bytes) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  std::size_t next(std::size_t most) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return std::min<std::size_t>(most, 1 + (state_ >> 33) % 48);
  }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

struct Outcome {
  std::vector<Request> requests;
  bool refused = false;
};

/// The requests in `bytes`, as a connection reads them.
Outcome read(std::string_view bytes, bool split) {
  const Limits limits;
  Outcome outcome;
  Pieces pieces(bytes);
  std::string in;
  auto reader = std::make_unique<RequestReader>(limits);
  while (true) {
    const std::size_t taken = reader->take(in);
    CHECK(taken <= in.size(), "only what came is taken");
    in.erase(0, taken);
    if (reader->state() == RequestReader::State::refused) {
      CHECK(reader->refusal().status >= 400 && reader->refusal().status < 600, "a refusal has an error status");
      outcome.refused = true;
      return outcome;
    }
    if (reader->state() == RequestReader::State::done) {
      outcome.requests.push_back(std::move(reader->request()));
      reader = std::make_unique<RequestReader>(limits);
      continue;
    }
    if (taken > 0 && !in.empty()) continue;
    if (bytes.empty()) return outcome;
    const std::size_t n = split ? pieces.next(bytes.size()) : bytes.size();
    in.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
}

bool is_visible(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

void check_accepted(const Request& request) {
  std::int64_t hosts = 0, lengths = 0, encodings = 0;
  for (const auto& [name, value] : request.fields) {
    CHECK(!name.empty() && is_visible(name) && is_visible(value) && name.find_first_of(" \t:") == std::string::npos,
          "a field has a plain name and visible text");
    hosts += name == "host";
    encodings += name == "transfer-encoding";
    if (name != "content-length") continue;
    ++lengths;
    CHECK(!value.empty() && value.find_first_not_of("0123456789") == std::string::npos, "a length is a plain number");
    CHECK(std::to_string(request.body.size()) == value.substr(std::min(value.find_first_not_of('0'), value.size() - 1)),
          "a body is as long as its length says");
  }
  CHECK(hosts == 1 || (hosts == 0 && request.minor_version == 0), "a request has one Host");
  CHECK(lengths + encodings <= 1, "a body has one length");
  CHECK(request.chunked == (encodings == 1), "a body is chunked if a field says so");
  CHECK(request.has_body() || request.body.empty(), "a body has been announced");
  CHECK(request.path.starts_with('/') || (request.path == "*" && request.method == "OPTIONS"), "a target is a path");
  CHECK(is_visible(request.method) && is_visible(request.path) && is_visible(request.query),
        "a request line has no control characters");
}

/// Answers in every way that a handler may.
class Echo final : public Service {
 public:
  std::optional<Response> refuse(const Request& head) override {
    if (!head.path.starts_with("/refused")) return std::nullopt;
    return marked(head, {404, {}, "refused"});
  }
  Task<> handle(Exchange& exchange) override {
    check_accepted(exchange.request());
    ++handled;
    const std::string& path = exchange.request().path;
    if (path.starts_with("/throw")) throw std::runtime_error("thrown");
    if (path.starts_with("/stream")) {
      exchange.begin_stream(marked(exchange.request(), {200, {}, ""}));
      exchange.send(exchange.request().body);
      exchange.end_stream();
      co_return;
    }
    const int status = exchange.request().method == "OPTIONS" ? 204 : 200;
    exchange.respond(marked(exchange.request(), {status, {}, exchange.request().body}));
  }
  Response refused(const Refusal& refusal, const Request* head) override {
    Response response{refusal.status, {}, refusal.message};
    return head ? marked(*head, std::move(response)) : response;
  }
  void finished(const Finished& finished) override { answers += finished.status != 0; }

  int handled = 0, answers = 0;

 private:
  /// With what its reader has to know of the request.
  static Response marked(const Request& request, Response response) {
    if (request.method == "HEAD") response.fields.emplace_back("x-no-body", "1");
    return response;
  }
};

std::string_view line_of(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n");
  CHECK(end != std::string_view::npos, "a line has an end");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

/// The number of whole responses in what a connection sent; each must be well-formed, and nothing may follow the one
/// that closes.
int responses(std::string_view rest) {
  int count = 0;
  while (!rest.empty()) {
    const std::string_view status = line_of(rest);
    CHECK(status.size() > 13 && status.starts_with("HTTP/1.1 ") && status[12] == ' ' && is_visible(status),
          "a response begins with a status line");
    std::int64_t length = -1;
    bool chunked = false, closes = false, no_body = status.substr(9, 3) == "204";
    for (std::string_view line = line_of(rest); !line.empty(); line = line_of(rest)) {
      CHECK(is_visible(line) && line.find(": ") != std::string_view::npos, "a field has a name and a value");
      if (line == "connection: close") closes = true;
      if (line == "transfer-encoding: chunked") chunked = true;
      if (line == "x-no-body: 1") no_body = true;
      if (line.starts_with("content-length: ")) std::from_chars(line.data() + 16, line.data() + line.size(), length);
    }
    if (status == "HTTP/1.1 100 Continue") continue;
    ++count;
    while (chunked && !no_body) {
      std::size_t size = 0;
      const std::string_view line = line_of(rest);
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
      CHECK(error == std::errc() && end == line.data() + line.size() && rest.size() >= size + 2, "a chunk is whole");
      rest.remove_prefix(size);
      CHECK(line_of(rest).empty(), "a chunk is as long as its size");
      if (size == 0) break;
    }
    if (closes) {
      CHECK(chunked || length <= 0 || rest.empty() || rest.size() == static_cast<std::size_t>(length),
            "nothing follows the last response");
      return count;
    }
    CHECK(chunked || no_body || length >= 0, "a response has a length");
    if (length > 0 && !no_body) {
      CHECK(rest.size() >= static_cast<std::size_t>(length), "a response is whole");
      rest.remove_prefix(static_cast<std::size_t>(length));
    }
  }
  return count;
}

/// Sends the bytes through a connection and returns what comes back.
std::string converse(std::string_view bytes, Echo& service) {
  int sockets[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) == 0, "there are sockets");
  boost::asio::io_context io{1};
  const Limits limits;
  WakeQueue wakes(io);
  bool closed = false;
  const auto connection =
      std::make_shared<Connection>(io, sockets[0], service, limits, wakes, [&](Connection&) { closed = true; });
  connection->start();
  std::string answer;
  char buffer[4096];
  const auto receive = [&] {
    io.restart();
    io.poll();
    for (ssize_t n; (n = ::recv(sockets[1], buffer, sizeof buffer, 0)) > 0;)
      answer.append(buffer, static_cast<std::size_t>(n));
  };
  Pieces pieces(bytes);
  while (!bytes.empty() && !closed) {
    const std::size_t n = pieces.next(bytes.size());
    if (::send(sockets[1], bytes.data(), n, MSG_NOSIGNAL) < 0) break;
    bytes.remove_prefix(n);
    receive();
  }
  ::shutdown(sockets[1], SHUT_WR);
  for (int i = 0; i < 100 && !closed; ++i) {
    receive();
    connection->sweep(Connection::Clock::now());
  }
  receive();
  CHECK(closed, "the connection is closed");
  ::close(sockets[1]);
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Outcome whole = read(bytes, false), split = read(bytes, true);
  CHECK(whole.refused == split.refused && whole.requests.size() == split.requests.size(), "the cut changes no refusal");
  for (std::size_t i = 0; i < whole.requests.size(); ++i) {
    check_accepted(whole.requests[i]);
    const Request &a = whole.requests[i], &b = split.requests[i];
    CHECK(a.method == b.method && a.path == b.path && a.query == b.query && a.fields == b.fields && a.body == b.body &&
              a.keep_alive == b.keep_alive,
          "the cut changes no request");
  }
  Echo service;
  const std::string answer = converse(bytes, service);
  CHECK(responses(answer) == service.answers, "each answer is one response");
  CHECK(service.handled <= static_cast<int>(whole.requests.size()), "a handler sees what the reader saw");
  return 0;
}
