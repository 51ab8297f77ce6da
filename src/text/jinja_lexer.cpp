// The lexer: jinja2's regular expressions, read by hand.
#include "text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "text/jinja_text.h"
#include "text/utf8.h"

namespace strata::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      out += '\n';
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) lex_data();
    push(Token::Kind::end);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) { throw SyntaxError{line_, message}; }
  bool at(std::string_view what) const { return source_.compare(pos_, what.size(), what) == 0; }

  // Moves to `end`, counting lines.
  void advance(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(pos_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    line_starting_ = end > pos_ ? source_[end - 1] == '\n' : line_starting_;
    pos_ = end;
  }

  std::size_t after_space(std::size_t from) const {
    while (from < source_.size()) {
      const Character c = character_at(source_, from);
      if (!is_space(c.code)) break;
      from += c.bytes;
    }
    return from;
  }

  Token& push(Token::Kind kind, std::string text = {}) {
    tokens_.push_back({kind, std::move(text), 0, 0, line_});
    return tokens_.back();
  }

  // Text before a tag that opens with `sign`, stripped as the sign and lstrip_blocks say.
  std::string_view strip_before_tag(std::string_view text, char sign, bool variable) const {
    if (sign == '-') {
      const Text whole = Text::of_template(std::string(text));
      return text.substr(0, strip(whole, nullptr, Side::right).size());
    }
    if (sign == '+' || variable) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (begin == 0 && !line_starting_) return text;
    for (std::size_t i = begin; i < text.size();) {
      const Character c = character_at(text, i);
      if (!is_space(c.code)) return text;
      i += c.bytes;
    }
    return text.substr(0, begin);
  }

  void push_data(std::string_view text) {
    if (!text.empty()) push(Token::Kind::data, std::string(text));
  }

  char sign_at(std::size_t offset) const {
    return offset < source_.size() && (source_[offset] == '-' || source_[offset] == '+') ? source_[offset] : ' ';
  }

  // Where the tag end `close` that stands at `from`, maybe with a sign, ends with the white space that goes with it.
  std::optional<std::size_t> tag_end(std::size_t from, std::string_view close, bool trims_newline) const {
    const char sign = sign_at(from);
    const std::size_t bare = sign == ' ' ? from : from + 1;
    if (source_.compare(bare, close.size(), close) != 0) return std::nullopt;
    const std::size_t end = bare + close.size();
    if (sign == '-') return after_space(end);
    if (sign == '+') return trims_newline ? std::optional(end) : std::nullopt;
    return trims_newline && end < source_.size() && source_[end] == '\n' ? end + 1 : end;
  }

  void lex_data() {
    std::size_t open = source_.find('{', pos_);
    while (open != std::string::npos &&
           (open + 1 == source_.size() || std::string_view("{%#").find(source_[open + 1]) == std::string_view::npos)) {
      open = source_.find('{', open + 1);
    }
    if (open == std::string::npos) {
      push_data(std::string_view(source_).substr(pos_));
      advance(source_.size());
      return;
    }
    const char type = source_[open + 1];
    const char sign = sign_at(open + 2);
    push_data(strip_before_tag(std::string_view(source_).substr(pos_, open - pos_), sign, type == '{'));
    advance(open);
    const std::size_t inside = open + (sign == ' ' ? 2 : 3);
    if (type == '#') {
      skip_comment(inside);
    } else if (const auto raw = type == '%' ? raw_begin(inside) : std::nullopt) {
      lex_raw(*raw);
    } else {
      push(type == '{' ? Token::Kind::variable_begin : Token::Kind::block_begin);
      advance(inside);
      lex_tag(type == '{');
    }
  }

  void skip_comment(std::size_t inside) {
    const std::size_t close = source_.find("#}", inside);
    if (close == std::string::npos) return skip_open_end(inside, "Missing end of comment tag");
    const bool has_sign = close > inside && sign_at(close - 1) != ' ';
    advance(*tag_end(close - (has_sign ? 1 : 0), "#}", true));
  }

  // Where the text of a raw block begins, if the tag whose inside begins here is `raw`.
  std::optional<std::size_t> raw_begin(std::size_t inside) const {
    const std::size_t word = after_space(inside);
    if (source_.compare(word, 3, "raw") != 0) return std::nullopt;
    return tag_end(after_space(word + 3), "%}", false);
  }

  void lex_raw(std::size_t begin) {
    advance(begin);
    for (std::size_t open = source_.find("{%", pos_); open != std::string::npos; open = source_.find("{%", open + 1)) {
      const char sign = sign_at(open + 2);
      const std::size_t word = after_space(open + (sign == ' ' ? 2 : 3));
      if (source_.compare(word, 6, "endraw") != 0) continue;
      const std::optional<std::size_t> end = tag_end(after_space(word + 6), "%}", true);
      if (!end) continue;
      push_data(strip_before_tag(std::string_view(source_).substr(pos_, open - pos_), sign, false));
      advance(*end);
      return;
    }
    skip_open_end(pos_, "Missing end of raw directive");
  }

  // jinja2 does not mind a comment or raw block without end if nothing follows.
  void skip_open_end(std::size_t inside, const char* message) {
    if (inside < source_.size()) fail(message);
    advance(inside);
  }

  void lex_tag(bool variable) {
    std::string closers;  // of the brackets that are open
    while (pos_ < source_.size()) {
      if (closers.empty()) {
        if (const auto end = tag_end(pos_, variable ? "}}" : "%}", !variable)) {
          push(variable ? Token::Kind::variable_end : Token::Kind::block_end);
          advance(*end);
          return;
        }
      }
      const char c = source_[pos_];
      if (const std::size_t word = after_space(pos_); word > pos_) {
        advance(word);
      } else if (is_digit(c)) {
        lex_number();
      } else if (starts_name(c)) {
        std::size_t end = pos_;
        while (end < source_.size() && (starts_name(source_[end]) || is_digit(source_[end]))) ++end;
        push(Token::Kind::name, source_.substr(pos_, end - pos_));
        advance(end);
      } else if (c == '\'' || c == '"') {
        lex_string(c);
      } else {
        lex_operator(closers);
      }
    }
  }

  void lex_operator(std::string& closers) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!at(op)) continue;
      if (op == "(") closers += ')';
      if (op == "[") closers += ']';
      if (op == "{") closers += '}';
      if (op == ")" || op == "]" || op == "}") {
        if (closers.empty()) fail("unexpected '" + std::string(op) + "'");
        if (closers.back() != op[0]) fail("unexpected '" + std::string(op) + "', expected '" + closers.back() + "'");
        closers.pop_back();
      }
      push(Token::Kind::op, std::string(op));
      advance(pos_ + op.size());
      return;
    }
    fail("unexpected character '" + source_.substr(pos_, character_at(source_, pos_).bytes) + "'");
  }

  // End of the digits of `base` from here, "_" between them allowed.
  std::size_t digits_end(std::size_t from, int base) const {
    const auto digit = [&](std::size_t at) {
      if (at >= source_.size()) return false;
      const char c = source_[at];
      const int value = is_digit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
      return value < base;
    };
    std::size_t end = from;
    while (digit(end) || (end > from && end < source_.size() && source_[end] == '_' && digit(end + 1))) ++end;
    return end;
  }

  void lex_number() {
    if (source_[pos_] == '0' && pos_ + 1 < source_.size()) {
      const char letter = static_cast<char>(source_[pos_ + 1] | 32);
      const int base = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
      if (base != 0 && digits_end(pos_ + 2, base) > pos_ + 2)
        return push_integer(pos_ + 2, digits_end(pos_ + 2, base), base);
    }
    std::size_t end = digits_end(pos_, 10);
    bool real = false;
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
    if (!after_dot && end < source_.size() && source_[end] == '.' && digits_end(end + 1, 10) > end + 1) {
      real = true;
      end = digits_end(end + 1, 10);
    }
    if (!after_dot && end < source_.size() && (source_[end] | 32) == 'e') {
      const std::size_t exponent = end + (sign_at(end + 1) == ' ' ? 1 : 2);
      if (digits_end(exponent, 10) > exponent) {
        real = true;
        end = digits_end(exponent, 10);
      }
    }
    if (!real) {
      if (source_[pos_] == '0') end = std::min(end, std::min(source_.find_first_not_of("0_", pos_), source_.size()));
      return push_integer(pos_, end, 10);
    }
    std::string digits = source_.substr(pos_, end - pos_);
    std::erase(digits, '_');
    Token& token = push(Token::Kind::real);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), token.real);
    if (result.ec != std::errc()) fail("the number " + digits + " is out of range");
    advance(end);
  }

  void push_integer(std::size_t begin, std::size_t end, int base) {
    std::string digits = source_.substr(begin, end - begin);
    std::erase(digits, '_');
    Token& token = push(Token::Kind::integer);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), token.integer, base);
    if (result.ec != std::errc()) fail("the integer " + digits + " does not fit 64 bits");
    advance(end);
  }

  void lex_string(char quote) {
    std::string value;
    std::size_t i = pos_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] == '\\' && i + 1 < source_.size()) {
        i = unescape(i + 1, value);
      } else {
        value += source_[i++];
      }
    }
    if (i >= source_.size()) fail("unexpected character '" + std::string(1, quote) + "': the string does not end");
    push(Token::Kind::string, std::move(value));
    advance(i + 1);
  }

  // Reads the escape whose character after the backslash stands at `i`; returns where it ends.
  std::size_t unescape(std::size_t i, std::string& out) {
    static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
    const char c = source_[i];
    if (const std::size_t known = kFrom.find(c); known != std::string_view::npos) {
      out += kTo[known];
      return i + 1;
    }
    if (c == '\n') return i + 1;
    std::size_t end = i + 1;
    unsigned long code = 0;
    if (c >= '0' && c <= '7') {
      for (end = i; end < i + 3 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7'; ++end)
        code = code * 8 + static_cast<unsigned long>(source_[end] - '0');
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t length = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      end = i + 1 + length;
      if (end > source_.size()) fail("truncated \\" + std::string(1, c) + " escape");
      const auto result = std::from_chars(source_.data() + i + 1, source_.data() + end, code, 16);
      if (result.ptr != source_.data() + end) fail("truncated \\" + std::string(1, c) + " escape");
    } else if (c == 'N') {
      fail("\\N escapes are not supported");
    } else {
      (out += '\\') += c;
      return end;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) fail("an escape that is no Unicode character");
    append_utf8(static_cast<char32_t>(code), out);
    return end;
  }

  std::string source_;
  std::size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // nothing of the current line was lexed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace strata::jinja
