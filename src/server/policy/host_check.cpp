#include "server/policy/host_check.h"

#include <algorithm>

namespace strata {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool is_port(std::string_view text) {
  return text.empty() ||
         (text.front() == ':' && text.size() <= 6 && text.find_first_not_of("0123456789", 1) == std::string_view::npos);
}

bool contains(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

std::string host_name(std::string_view host) {
  std::size_t end;
  if (host.starts_with('[')) {
    end = host.find(']');
    if (end == std::string_view::npos) return "";
    ++end;
  } else {
    end = std::min(host.find(':'), host.size());
  }
  if (!is_port(host.substr(end))) return "";
  std::string name = lower(host.substr(0, end));
  if (name.ends_with('.')) name.pop_back();
  return name;
}

HostCheck::HostCheck(std::vector<std::string> allowed, bool any) : allowed_(std::move(allowed)), any_(any) {
  for (std::string& name : allowed_) name = host_name(name);
  for (const char* own : {"localhost", "127.0.0.1", "[::1]"}) allowed_.emplace_back(own);
}

bool HostCheck::allows(std::string_view host) const {
  const std::string name = host_name(host);
  return !name.empty() && (any_ || contains(allowed_, name));
}

OriginCheck::OriginCheck(std::vector<std::string> allowed) : allowed_(std::move(allowed)) {
  for (std::string& origin : allowed_) {
    origin = lower(origin);
    if (origin.ends_with('/')) origin.pop_back();
  }
}

bool OriginCheck::allows(std::string_view origin, std::string_view host) const {
  if (!allow_header(origin).empty()) return true;
  const std::string asked = lower(origin), own = lower(host);
  return asked == "http://" + own || asked == "https://" + own;  // https: behind a proxy
}

std::string OriginCheck::allow_header(std::string_view origin) const {
  if (contains(allowed_, "*")) return "*";
  return contains(allowed_, lower(origin)) ? std::string(origin) : "";
}

}  // namespace strata
