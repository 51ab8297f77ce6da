#include "server/http/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/quote.h"

namespace strata::http {
namespace {

constexpr int kBacklog = 4096;

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorCode::network, what); }

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    fail("--host " + in_quotes(host) + " is no address of this machine (" + ::gai_strerror(error) +
         "); try --host 127.0.0.1");
  }
  return {found, &::freeaddrinfo};
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
  }
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address);
  return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/// The inode of the socket that listens on `port`, from /proc/net.
std::optional<std::string> listening_inode(std::uint16_t port) {
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream lines(table);
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string number, local, remote, state, queues, timer, retransmits, user, timeout, inode;
      words >> number >> local >> remote >> state >> queues >> timer >> retransmits >> user >> timeout >> inode;
      const std::size_t colon = local.rfind(':');
      if (state == "0A" && colon != std::string::npos && std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port)
        return inode;
    }
  }
  return std::nullopt;
}

/// " by process 1234 (strata)", as far as this user may see it.
std::string holder(std::uint16_t port) {
  const std::optional<std::string> inode = listening_inode(port);
  if (!inode) return "";
  std::error_code error;
  const std::string wanted = "socket:[" + *inode + "]";
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code unreadable;
    for (std::filesystem::directory_iterator fd(process.path() / "fd", unreadable), end; !unreadable && fd != end;
         fd.increment(unreadable)) {
      std::error_code gone;
      if (std::filesystem::read_symlink(fd->path(), gone) != wanted) continue;
      std::string name;
      std::getline(std::ifstream(process.path() / "comm"), name);
      return " by process " + pid + " (" + name + ")";
    }
  }
  return " by a process of another user";
}

std::string in_words(const sockaddr* address, std::uint16_t port) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text, sizeof text);
    return "http://[" + std::string(text) + "]:" + std::to_string(port);
  }
  ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  return "http://" + std::string(text) + ":" + std::to_string(port);
}

std::uint16_t bound_port(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace

Listener::Listener(Listener&& other) noexcept { *this = std::move(other); }

Listener& Listener::operator=(Listener&& other) noexcept {
  std::swap(socket_, other.socket_);
  std::swap(address_, other.address_);
  std::swap(port_, other.port_);
  std::swap(local_, other.local_);
  std::swap(file_, other.file_);
  return *this;
}

Listener::~Listener() {
  if (socket_ >= 0) ::close(socket_);
  if (!file_.empty()) ::unlink(file_.c_str());
}

std::vector<Listener> Listener::tcp(const std::string& host, std::uint16_t port) {
  std::vector<Listener> listeners;
  const Addresses addresses = resolve(host, port);
  for (const addrinfo* a = addresses.get(); a; a = a->ai_next) {
    Listener listener;
    listener.socket_ = ::socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener.socket_ < 0) continue;  // a machine without IPv6
    const int on = 1;
    ::setsockopt(listener.socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) ::setsockopt(listener.socket_, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    sockaddr_storage address{};
    std::memcpy(&address, a->ai_addr, a->ai_addrlen);
    if (port == 0 && !listeners.empty()) {  // sin_port and sin6_port lie at the same place
      reinterpret_cast<sockaddr_in*>(&address)->sin_port = htons(listeners.front().port_);
    }
    if (::bind(listener.socket_, reinterpret_cast<sockaddr*>(&address), a->ai_addrlen) != 0 ||
        ::listen(listener.socket_, kBacklog) != 0) {
      const int error = errno;
      if (a->ai_family == AF_INET6 && error == EADDRNOTAVAIL && (a->ai_next || !listeners.empty())) continue;
      if (error == EADDRINUSE) {
        fail("port " + std::to_string(port) + " is in use" + holder(port) +
             "; choose another with --port, or --port 0 "
             "for any that is free");
      }
      fail("can't listen on " + in_words(a->ai_addr, port) + ": " + std::strerror(error) +
           (error == EACCES ? "; ports below 1024 need rights: choose another with --port" : ""));
    }
    listener.port_ = bound_port(listener.socket_);
    listener.address_ = in_words(a->ai_addr, listener.port_);
    listener.local_ = is_loopback(a->ai_addr);
    listeners.push_back(std::move(listener));
  }
  if (listeners.empty()) fail("--host " + in_quotes(host) + ": this machine has no such address; try 127.0.0.1");
  return listeners;
}

Listener Listener::unix_domain(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = path.string();
  if (name.empty() || name.size() >= sizeof address.sun_path)
    fail("--uds " + in_quotes(name) + ": a socket's path has 1 to " + std::to_string(sizeof address.sun_path - 1) +
         " bytes");
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  Listener listener;
  listener.socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener.socket_ < 0) fail("--uds " + in_quotes(name) + ": " + std::strerror(errno));
  struct stat status {};
  if (::lstat(name.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) fail("--uds " + in_quotes(name) + " is there and is no socket; choose another path");
    // Nobody answers at a stale one.
    if (::connect(listener.socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
        errno != ECONNREFUSED)
      fail("--uds " + in_quotes(name) + " is in use by another server");
    ::unlink(name.c_str());
    ::close(listener.socket_);
    listener.socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  }
  const mode_t mask = ::umask(0177);
  const int bound = ::bind(listener.socket_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::umask(mask);
  if (bound != 0 || ::listen(listener.socket_, kBacklog) != 0)
    fail("--uds " + in_quotes(name) + ": " + std::strerror(bound != 0 ? error : errno));
  listener.address_ = "unix:" + name;
  listener.file_ = path;
  return listener;
}

bool is_loopback(const std::string& host) {
  const Addresses addresses = resolve(host, 0);
  for (const addrinfo* a = addresses.get(); a; a = a->ai_next) {
    if (!is_loopback(a->ai_addr)) return false;
  }
  return true;
}

}  // namespace strata::http
