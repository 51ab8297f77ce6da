#include "server/policy/api_keys.h"

#include <sys/stat.h>

#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace strata {
namespace {

/// Walks all of `shown`, whatever differs.
bool equal(std::string_view key, std::string_view shown) {
  auto difference = static_cast<unsigned>(key.size() != shown.size());
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const auto a = static_cast<unsigned char>(key[i % key.size()]), b = static_cast<unsigned char>(shown[i]);
    difference |= static_cast<unsigned>(a ^ b);
  }
  // The compiler must not leave the loop early.
  volatile unsigned result = difference;
  return result == 0;
}

}  // namespace

void ApiKeys::check(std::string_view key, const std::string& what) {
  if (key.size() < 8 || key.size() > 512)
    throw Error(ErrorCode::usage, what + ": a key has 8 to 512 characters, this one " + std::to_string(key.size()));
  for (const char c : key) {
    if (c <= ' ' || c > '~') throw Error(ErrorCode::usage, what + ": a key is of visible ASCII characters only");
  }
}

std::vector<ApiKey> ApiKeys::read(const std::filesystem::path& file) {
  // A credential of systemd is its service's alone; the access list that says so shows as bits of the group.
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  const bool guarded = credentials != nullptr && file.parent_path() == credentials;
  struct stat status {};
  if (!guarded && ::stat(file.c_str(), &status) == 0 && (status.st_mode & 077) != 0) {
    throw Error(ErrorCode::usage,
                file.string() + " may be read by others than its owner; run chmod 600 " + file.string());
  }
  std::istringstream lines([&] {
    try {
      return read_text(file, 1 << 20);
    } catch (const Error& e) {
      throw Error(ErrorCode::usage, std::string("--api-key-file: ") + e.what());
    }
  }());
  std::vector<ApiKey> keys;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream words(line.substr(0, line.find('#')));
    std::string first, second, more;
    words >> first >> second >> more;
    if (first.empty()) continue;
    const std::string where = file.string() + ": line " + std::to_string(number);
    if (!more.empty()) throw Error(ErrorCode::usage, where + ": expected KEY or NAME KEY, found more words");
    ApiKey key;
    key.name = second.empty() ? "key" + std::to_string(keys.size() + 1) : first;
    key.key = second.empty() ? first : second;
    check(key.key, where);
    keys.push_back(std::move(key));
  }
  if (keys.empty()) throw Error(ErrorCode::usage, file.string() + ": there is no key in it; write one a line");
  return keys;
}

std::optional<std::string> ApiKeys::find(std::string_view shown) const {
  std::optional<std::string> name;
  for (const ApiKey& key : keys_) {
    if (equal(key.key, shown)) name = key.name;
  }
  return name;
}

std::string_view shown_key(const std::string* authorization, const std::string* x_api_key) {
  if (authorization) {
    std::string_view value = *authorization;
    if (value.size() > 7 && (value.starts_with("Bearer ") || value.starts_with("bearer "))) return value.substr(7);
  }
  return x_api_key ? std::string_view(*x_api_key) : std::string_view();
}

}  // namespace strata
