#include "server/http/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string_view>

namespace strata::http {
namespace {

constexpr std::chrono::milliseconds kSweep{250};
/// Of a socket, beyond Limits::send_buffer: so that a client which reads nothing is noticed.
constexpr int kSocketBuffer = 256 << 10;
/// Descriptors that are left to everything but connections.
constexpr std::int64_t kOtherDescriptors = 256;

}  // namespace

std::int64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::int64_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 30));
}

Server::Server(boost::asio::io_context& io, Service& service, const Limits& limits)
    : io_(io), service_(service), limits_(limits), wakes_(io), sweep_timer_(io), accept_timer_(io) {
  if (limits_.max_connections <= 0)
    limits_.max_connections = std::max<std::int64_t>(raise_descriptor_limit() - kOtherDescriptors, 16);
  spare_descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

Server::~Server() {
  for (Acceptor& acceptor : acceptors_) acceptor.descriptor.release();  // the listener closes it
  if (spare_descriptor_ >= 0) ::close(spare_descriptor_);
}

void Server::serve(std::vector<Listener> listeners) {
  for (Listener& listener : listeners) {
    Acceptor& acceptor = acceptors_.emplace_back(io_, std::move(listener));
    acceptor.descriptor.assign(acceptor.listener.socket());
    wait(acceptor);
  }
  schedule_sweep();
}

void Server::wait(Acceptor& acceptor) {
  acceptor.descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                 [this, &acceptor](const boost::system::error_code& error) {
                                   if (!error && !draining_) accept_all(acceptor);
                                 });
}

void Server::accept_all(Acceptor& acceptor) {
  while (true) {
    int socket = ::accept4(acceptor.listener.socket(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
      accepted(socket);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) break;
    // Without a descriptor nobody can even be turned away: one is kept for that.
    ::close(spare_descriptor_);
    socket = ::accept4(acceptor.listener.socket(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const bool got_one = socket >= 0;
    if (got_one) turn_away(socket);
    spare_descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (got_one) continue;
    accept_timer_.expires_after(std::chrono::milliseconds(100));
    accept_timer_.async_wait([this, &acceptor](const boost::system::error_code& error) {
      if (!error && !draining_) accept_all(acceptor);
    });
    return;
  }
  wait(acceptor);
}

void Server::accepted(int socket) {
  if (connections() >= limits_.max_connections) return turn_away(socket);
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // fails on a unix socket, which needs none
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  accepted_.fetch_add(1, std::memory_order_relaxed);
  std::shared_ptr<Connection> connection;
  try {
    connection = std::make_shared<Connection>(io_, socket, service_, limits_, wakes_, [this](Connection& closed) {
      connections_.erase(&closed);
      open_.store(static_cast<std::int64_t>(connections_.size()), std::memory_order_relaxed);
    });
  } catch (const std::exception&) {  // no room in epoll
    return turn_away(socket);
  }
  connections_.emplace(connection.get(), connection);
  open_.store(static_cast<std::int64_t>(connections_.size()), std::memory_order_relaxed);
  connection->start();
}

void Server::turn_away(int socket) {
  if (turned_away_.fetch_add(1, std::memory_order_relaxed) == 0)  // said once; the metric counts them all
    spdlog::warn(
        "a client was turned away: {} connections are open, at most {} may be, or no descriptor was free; see "
        "--max-connections and ulimit -n",
        connections(), limits_.max_connections);
  Response response =
      service_.refused({503, "too_many_connections", "too many connections are open; try again later"}, nullptr);
  response.fields.emplace_back("retry-after", "1");
  const std::string bytes =
      response_head(response, {}, static_cast<std::int64_t>(response.body.size()), false) + response.body;
  // What has come already is read: closing with unread bytes would take the response back.
  char scrap[4096];
  for (int i = 0; i < 16 && ::recv(socket, scrap, sizeof scrap, 0) > 0; ++i) {
  }
  static_cast<void>(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  ::shutdown(socket, SHUT_WR);
  ::close(socket);
}

void Server::schedule_sweep() {
  sweep_timer_.expires_after(kSweep);
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const auto now = Connection::Clock::now();
    // What a sweep ends leaves the map later, by a post.
    for (const auto& [key, connection] : connections_) connection->sweep(now);
    schedule_sweep();
  });
}

void Server::drain() {
  if (std::exchange(draining_, true)) return;
  for (Acceptor& acceptor : acceptors_) acceptor.descriptor.release();
  acceptors_.clear();
  accept_timer_.cancel();
  for (const auto& [key, connection] : connections_) connection->close_when_idle();
}

void Server::abort() {
  drain();
  for (const auto& [key, connection] : connections_) connection->abort();
}

}  // namespace strata::http
