// Connections over a socket pair: deadlines, slow and greedy clients, what is kept and what is closed.
#include "server/http/connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

namespace strata::http {
namespace {

using namespace std::chrono_literals;
using Clock = Connection::Clock;

/// Answers with `answer`, in a stream if there is one; notes what it hears.
class Scripted final : public Service {
 public:
  std::optional<Response> refuse(const Request& head) override {
    if (head.path != "/refused") return std::nullopt;
    return Response{404, {}, "refused"};
  }
  Task<> handle(Exchange& exchange) override {
    bodies.push_back(exchange.request().body);
    if (stream_bytes == 0) {
      exchange.respond({200, {}, "ok"});
      co_return;
    }
    exchange.begin_stream({200, {}, ""});
    for (std::size_t sent = 0; sent < stream_bytes && !exchange.gone(); sent += 1024) {
      while (exchange.full() && !exchange.gone()) co_await exchange.wake_up();
      exchange.send(std::string(1024, 'x'));
    }
    exchange.end_stream();
  }
  Response refused(const Refusal& refusal, const Request*) override { return {refusal.status, {}, refusal.message}; }
  void finished(const Finished& finished) override { all_finished.push_back(finished); }

  std::size_t stream_bytes = 0;
  std::vector<std::string> bodies;
  std::vector<Finished> all_finished;
};

/// A connection and its client.
class Pair {
 public:
  explicit Pair(Service& service, const Limits& limits = {}) : limits_(limits) {
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) != 0) throw std::runtime_error("socketpair");
    client_ = sockets[1];
    connection_ =
        std::make_shared<Connection>(io_, sockets[0], service, limits_, wakes_, [this](Connection&) { closed = true; });
    connection_->start();
  }
  ~Pair() {
    connection_->abort();
    io_.restart();
    io_.poll();
    ::close(client_);
  }

  /// What is ready runs, and the deadlines are looked at as of `later`.
  void run(Clock::duration later = 0s) {
    connection_->sweep(Clock::now() + later);
    io_.restart();
    io_.poll();
  }
  /// How much of `bytes` the socket took.
  std::size_t send(std::string_view bytes) {
    const ssize_t n = ::send(client_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return static_cast<std::size_t>(std::max<ssize_t>(n, 0));
  }
  std::string receive() {
    std::string text(1 << 16, '\0');
    const ssize_t n = ::recv(client_, text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return text;
  }
  std::string exchange(std::string_view bytes) {
    send(bytes);
    run();
    return receive();
  }
  Connection& connection() { return *connection_; }
  boost::asio::io_context& io() { return io_; }

  bool closed = false;

 private:
  boost::asio::io_context io_{1};
  WakeQueue wakes_{io_};
  const Limits limits_;
  int client_ = -1;
  std::shared_ptr<Connection> connection_;
};

bool has_status(std::string_view response, int status) {
  return response.starts_with("HTTP/1.1 " + std::to_string(status) + " ");
}

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(Connection, F5_AHeadThatTakesTooLongGets408) {
  Scripted service;
  Pair pair(service);
  EXPECT_EQ(pair.exchange("GET / HT"), "");
  pair.run(9s);
  EXPECT_EQ(pair.receive(), "");
  pair.run(11s);
  EXPECT_TRUE(has_status(pair.receive(), 408));
  pair.run(3s);
  EXPECT_TRUE(pair.closed) << "nor does it linger for ever";
}

TEST(Connection, F5_ABodyMayTakeLongAsLongAsItKeepsComing) {
  Scripted service;
  Pair pair(service);
  pair.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  pair.run(59s);
  EXPECT_EQ(pair.receive(), "");
  for (int i = 0; i < 10; ++i) {
    pair.send(std::string(16 << 10, ' '));
    pair.run();
  }
  pair.run(69s);
  EXPECT_EQ(pair.receive(), "") << "160 KiB have earned it ten seconds";
  pair.run(71s);
  EXPECT_TRUE(has_status(pair.receive(), 408));
  EXPECT_TRUE(service.bodies.empty());
}

TEST(Connection, F5_AnIdleConnectionIsClosedWithoutAWord) {
  Scripted service;
  Pair pair(service);
  EXPECT_TRUE(has_status(pair.exchange(kGet), 200));
  pair.run(74s);
  EXPECT_FALSE(pair.closed);
  pair.run(76s);
  pair.run(79s);
  EXPECT_EQ(pair.receive(), "");
  EXPECT_TRUE(pair.closed);
}

TEST(Connection, F8_AClientThatIsReadAsFastAsItSendsLeavesOthersTheirTurn) {
  Scripted service;
  Pair pair(service);
  pair.exchange("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  // A client that sends more whenever it is read: each turn must end though there is always more.
  std::size_t turns = 0, sent = 0;
  const std::string megabyte(1 << 20, ' ');
  while (sent < 8U << 20) {
    for (std::size_t n; (n = pair.send(megabyte)) > 0;) sent += n;
    pair.io().restart();
    if (pair.io().poll_one() > 0) ++turns;
  }
  EXPECT_GE(turns, sent / (512 << 10)) << "no turn reads much more than a quarter of a megabyte";
  pair.run(3s);
  pair.run();
  EXPECT_TRUE(pair.closed) << "a refused body is read for two seconds";
}

TEST(Connection, F4_AClientThatReadsNothingIsCutOff) {
  Scripted service;
  service.stream_bytes = 64 << 20;
  Pair pair(service);
  pair.send(kGet);
  pair.run();
  pair.run(29s);
  EXPECT_TRUE(service.all_finished.empty());
  pair.run(31s);
  pair.run();
  ASSERT_EQ(service.all_finished.size(), 1U);
  EXPECT_TRUE(service.all_finished[0].client_slow);
  EXPECT_FALSE(service.all_finished[0].client_gone);
  EXPECT_LT(service.all_finished[0].response_bytes, 2 << 20) << "what waits for it has an end";
}

TEST(Connection, F4_AClientThatReadsInTheEndGetsItAll) {
  Scripted service;
  service.stream_bytes = 8 << 20;
  Pair pair(service);
  pair.send(kGet);
  std::size_t received = 0;
  for (int i = 0; i < 10000 && service.all_finished.empty(); ++i) {
    pair.run();
    received += pair.receive().size();
  }
  for (std::string more; !(more = pair.receive()).empty();) received += more.size();
  EXPECT_GT(received, service.stream_bytes);
  ASSERT_EQ(service.all_finished.size(), 1U);
  EXPECT_FALSE(service.all_finished[0].client_slow);
}

TEST(Connection, RefusedBodiesThatAreSmallAreReadSoThatTheConnectionIsKept) {
  Scripted service;
  Pair pair(service);
  EXPECT_TRUE(has_status(pair.exchange("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"), 404));
  EXPECT_TRUE(has_status(pair.exchange(kGet), 200));
  EXPECT_TRUE(has_status(pair.exchange("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"), 404));
  EXPECT_EQ(pair.exchange(kGet), "") << "what follows might be the body";
  EXPECT_EQ(service.bodies.size(), 1U);
}

TEST(Connection, AStreamToHEADHasNoBody) {
  Scripted service;
  service.stream_bytes = 4096;
  Pair pair(service);
  const std::string response = pair.exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(has_status(response, 200));
  EXPECT_TRUE(response.ends_with("\r\n\r\n") && response.find("\r\n\r\n") == response.size() - 4);
  EXPECT_TRUE(has_status(pair.exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), 200)) << "and the connection is kept";
}

TEST(Connection, F22_AnIdleOneClosesWhenAskedTo) {
  Scripted service;
  Pair idle(service), busy(service);
  busy.exchange("GET / HTTP/1.1\r\nHo");
  idle.connection().close_when_idle();
  busy.connection().close_when_idle();
  idle.run(3s);
  idle.run();
  EXPECT_TRUE(idle.closed);
  EXPECT_FALSE(busy.closed) << "a request under way is answered";
  const std::string response = busy.exchange("st: a\r\n\r\n");
  EXPECT_TRUE(has_status(response, 200));
  EXPECT_NE(response.find("connection: close"), std::string::npos);
}

}  // namespace
}  // namespace strata::http
