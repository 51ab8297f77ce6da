// Strict event-wise JSON, for texts of which no document should be built.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace strata {

/// Handlers of strict JSON derive from this and throw Error where the text breaks their rules.
class StrictSax : public nlohmann::json_sax<Json> {
 public:
  bool binary(binary_t&) override { return true; }  // JSON has none
  /// Calls refuse() with the parser's reason.
  bool parse_error(std::size_t position, const std::string& token, const nlohmann::detail::exception& error) override;

 protected:
  /// Throws the Error for text that is no valid JSON.
  [[noreturn]] virtual void refuse(const std::string& why) const = 0;
  /// "line 3, column 14": of the last byte that was read. Only while parse_sax runs.
  std::string place() const;

 private:
  friend void parse_sax(std::string_view text, StrictSax& handler);
  const char* begin_ = nullptr;
  const char* next_ = nullptr;
};

/// Runs `handler` over the whole of `text`; trailing blanks may follow the value, nothing else.
void parse_sax(std::string_view text, StrictSax& handler);

}  // namespace strata
