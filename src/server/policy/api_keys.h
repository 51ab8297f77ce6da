// The keys that requests show, and what they are compared with.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

struct ApiKey {
  std::string name;  // for logs, where a key never stands
  std::string key;
};

/// Immutable. Without keys everyone may ask.
class ApiKeys {
 public:
  ApiKeys() = default;
  explicit ApiKeys(std::vector<ApiKey> keys) : keys_(std::move(keys)) {}

  /// A file of lines "KEY" or "NAME KEY"; "#" begins a comment. Only its owner may read it. Throws Error{usage}, naming
  /// the line, for what is neither, for keys of less than 8 or more than 512 characters, for none at all.
  static std::vector<ApiKey> read(const std::filesystem::path& file);
  /// Throws Error{usage}, beginning with `what`, unless `key` can be one.
  static void check(std::string_view key, const std::string& what);

  bool required() const { return !keys_.empty(); }
  /// The name of `shown`, or nothing. Compares with every key, to its end: the time says nothing about how much of a
  /// guess was right.
  std::optional<std::string> find(std::string_view shown) const;

 private:
  std::vector<ApiKey> keys_;
};

/// The key in "authorization: Bearer KEY" or "x-api-key: KEY"; nullptrs for fields that aren't there.
std::string_view shown_key(const std::string* authorization, const std::string* x_api_key);

}  // namespace strata
