#include "server/generation/python_literal.h"

#include <cctype>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace strata {
namespace {

constexpr int kMaxDepth = 64;

class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : rest_(text) {}

  std::optional<Json> whole() {
    std::optional<Json> value = read(0);
    skip_blanks();
    return rest_.empty() ? std::move(value) : std::nullopt;
  }

 private:
  std::optional<Json> read(int depth) {
    skip_blanks();
    if (rest_.empty() || depth > kMaxDepth) return std::nullopt;
    switch (rest_[0]) {
      case '{':
        return dict(depth);
      case '[':
        return list(']', depth);
      case '(':
        return list(')', depth);
      case '\'':
      case '"':
        if (auto text = string()) return Json(std::move(*text));
        return std::nullopt;
      default:
        return word();
    }
  }

  std::optional<Json> dict(int depth) {
    Json out = Json::object();
    auto& members = out.get_ref<Json::object_t&>();
    std::unordered_set<std::string> keys;
    rest_.remove_prefix(1);
    while (!take('}')) {
      skip_blanks();
      auto key = string();
      if (!key || !take(':')) return std::nullopt;
      auto value = read(depth + 1);
      if (!value || !keys.insert(*key).second) return std::nullopt;
      // Straight into the vector beneath the ordered map; the map's own insertion compares with every key.
      static_cast<Json::object_t::Container&>(members).emplace_back(std::move(*key), std::move(*value));
      if (take(',')) continue;
      if (!take('}')) return std::nullopt;
      break;
    }
    return out;
  }

  std::optional<Json> list(char end, int depth) {
    Json out = Json::array();
    rest_.remove_prefix(1);
    while (!take(end)) {
      auto value = read(depth + 1);
      if (!value) return std::nullopt;
      out.push_back(std::move(*value));
      if (take(',')) continue;
      if (!take(end)) return std::nullopt;
      break;
    }
    return out;
  }

  std::optional<std::string> string() {
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return std::nullopt;
    const char quote = rest_[0];
    std::string out;
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == quote) {
        rest_.remove_prefix(i + 1);
        return out;
      }
      if (rest_[i] == '\\') {
        if (!escape(i, out)) return std::nullopt;
      } else {
        out += rest_[i];
      }
    }
    return std::nullopt;
  }

  /// At the backslash; leaves `i` on the last character of the escape.
  bool escape(std::size_t& i, std::string& out) {
    if (++i == rest_.size()) return false;
    static constexpr std::string_view kNames = "nrtbf0\\'\"/", kValues = {"\n\r\t\b\f\0\\'\"/", 10};
    const char c = rest_[i];
    if (const auto at = kNames.find(c); at != std::string_view::npos) {
      out += kValues[at];
      return true;
    }
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0 || rest_.size() - i - 1 < digits) return false;
    char32_t code = 0;
    for (std::size_t d = 0; d < digits; ++d) {
      const auto digit = static_cast<unsigned char>(rest_[++i]);
      if (!std::isxdigit(digit)) return false;
      code = code * 16 + static_cast<char32_t>(std::isdigit(digit) ? digit - '0' : std::tolower(digit) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    append_utf8(code, out);
    return true;
  }

  std::optional<Json> word() {
    std::size_t n = 0;
    while (n < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[n])) || rest_[n] == '+' ||
                                rest_[n] == '-' || rest_[n] == '.')) {
      ++n;
    }
    const std::string_view token = rest_.substr(0, n);
    rest_.remove_prefix(n);
    if (token == "True" || token == "true") return Json(true);
    if (token == "False" || token == "false") return Json(false);
    if (token == "None" || token == "null") return Json(nullptr);
    try {
      Json number = parse_json(token, "number");
      return number.is_number() ? std::optional(std::move(number)) : std::nullopt;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  void skip_blanks() {
    const auto n = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(n == std::string_view::npos ? rest_.size() : n);
  }

  bool take(char c) {
    skip_blanks();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<Json> parse_python_literal(std::string_view text) { return LiteralReader(text).whole(); }

}  // namespace strata
