// An HTTP request, and why one is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::http {

struct Request {
  std::string method;
  std::string path;                                         // of the target, as it was sent
  std::string query;                                        // what follows its "?"
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
  std::string body;
  std::string id;  // the client's x-request-id if it is usable, else drawn
  int minor_version = 1;
  bool keep_alive = true;
  bool expects_continue = false;
  bool chunked = false;
  std::int64_t content_length = 0;

  bool has_body() const { return chunked || content_length > 0; }
  /// The first field of that (lower case) name, or nullptr.
  const std::string* field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

/// A status with its words; what a body looks like is the service's affair.
struct Refusal {
  int status = 400;
  std::string code;  // a word for programs, as "body_too_large"
  std::string message;
};

}  // namespace strata::http
