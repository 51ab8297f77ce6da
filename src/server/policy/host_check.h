// Which Host and Origin a request may have: a page of another site must not reach a server on this machine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strata {

/// The name in a Host field, in lower case and without port: of "LocalHost:80" "localhost", of "[::1]:80" "[::1]";
/// empty for what is none.
std::string host_name(std::string_view host);

/// Against DNS rebinding: a name that an attacker points at 127.0.0.1 is still his name.
class HostCheck {
 public:
  /// `allowed`: names besides this machine's own (localhost, 127.0.0.1, [::1]); `any`: every name will do, as for a
  /// server that others are meant to reach by names it doesn't know.
  HostCheck(std::vector<std::string> allowed, bool any);
  /// `host`: the Host field.
  bool allows(std::string_view host) const;

 private:
  std::vector<std::string> allowed_;
  bool any_;
};

class OriginCheck {
 public:
  /// `allowed`: origins as "https://chat.example"; "*": all, never with credentials.
  explicit OriginCheck(std::vector<std::string> allowed);
  /// Whether a page of `origin` may ask `host`: those of --cors-origin and the server's own.
  bool allows(std::string_view origin, std::string_view host) const;
  /// What access-control-allow-origin says to `origin`; empty: nothing.
  std::string allow_header(std::string_view origin) const;

 private:
  std::vector<std::string> allowed_;
};

}  // namespace strata
