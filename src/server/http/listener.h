// Sockets that clients connect to, and their addresses in words.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace strata::http {

/// A listening, non-blocking socket; move-only, closed when it dies.
class Listener {
 public:
  /// Every address that `host` means; `port` 0: one that is free, the same for all. Throws Error{network}, saying who
  /// has the port if that can be seen.
  static std::vector<Listener> tcp(const std::string& host, std::uint16_t port);
  /// A socket file, which only its owner may use; a stale one is replaced. Throws Error{network}.
  static Listener unix_domain(const std::filesystem::path& path);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  int socket() const { return socket_; }
  /// "http://127.0.0.1:8737", "http://[::1]:8737", "unix:/run/strata.sock".
  const std::string& address() const { return address_; }
  std::uint16_t port() const { return port_; }
  /// Whether only this machine can reach it.
  bool local() const { return local_; }

 private:
  Listener() = default;
  int socket_ = -1;
  std::string address_;
  std::uint16_t port_ = 0;
  bool local_ = true;
  std::filesystem::path file_;  // to be removed
};

/// Whether every address that `host` means is this machine's own (127.0.0.0/8, ::1). Throws Error{network} for a name
/// that means nothing.
bool is_loopback(const std::string& host);

}  // namespace strata::http
