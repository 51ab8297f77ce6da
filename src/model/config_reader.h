// Reads typed values out of a config.json, with messages that name the key.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace strata {

/// One object of a config.json. Where several spellings of a key are given the first one that is there and not null
/// counts. All throw Error{bad_model} that begins with `what`.
class ConfigReader {
 public:
  using Names = std::initializer_list<std::string_view>;

  /// Throws if `object` is no object.
  ConfigReader(const Json& object, std::string what);

  /// The value of the first of `names` that is there and not null, or nullptr.
  const Json* find(Names names) const;
  /// An integer in [least, most]; `fallback` if there is none, and an error if there is no fallback either.
  std::int64_t integer(Names names, std::int64_t least, std::int64_t most,
                       std::optional<std::int64_t> fallback = std::nullopt) const;
  /// A finite number in [least, most].
  double number(Names names, double least, double most, double fallback) const;
  bool flag(Names names, bool fallback) const;
  /// A string, or nothing.
  std::optional<std::string> text(Names names) const;
  /// Throws unless the value, if it is there, is `expected`: for keys of which Strata computes one value only.
  void require(std::string_view name, const Json& expected) const;

  /// "what: key: message".
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;
  const Json& object() const { return object_; }
  const std::string& what() const { return what_; }

 private:
  const Json& object_;
  std::string what_;
};

}  // namespace strata
