// The differences between Oniguruma's Ruby syntax and PCRE2's that patterns of tokenizers meet.
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/regex.h"

namespace strata {
namespace {

// White_Space (Unicode, PropList.txt) and its complement; PCRE2's \s has U+180E besides.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kNonSpaces =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";
// A word is Alphabetic, Mark, Decimal_Number or Connector_Punctuation (UTS #18, annex C); Alphabetic adds to letters,
// marks and letter numbers only the circled, squared and parenthesised letters. Oniguruma adds Latin-1's superscripts
// and fractions. PCRE2's \w is another set.
constexpr std::string_view kWords = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}\x{24B6}-\x{24E9})"
                                    R"(\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view what) : pattern_(pattern), what_(what) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_member(c);
      } else if (c == '[') {
        begin_class();
      } else if (c == '(') {
        group();
      } else {
        // Ruby reads "{1,3}+" as a repeated repeat, PCRE2 as a possessive one; "{,3}" is no repeat to PCRE2.
        if (c == '}' && peek(1) == '+') refuse("a repeat count followed by +");
        if (c == '{' && peek(1) == ',') refuse("a repeat count without a lower bound");
        take(1);
      }
    }
    return std::move(out_);
  }

 private:
  char peek(std::size_t offset) const { return at_ + offset < pattern_.size() ? pattern_[at_ + offset] : '\0'; }
  void take(std::size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += std::min(count, pattern_.size() - at_);
  }
  void replace(std::size_t count, std::string_view by) {
    out_ += by;
    at_ += count;
  }
  [[noreturn]] void refuse(std::string_view construct) const {
    throw Error(ErrorCode::bad_model, std::string(what_) + ": the regular expression uses " + std::string(construct) +
                                          ", which is not supported: " + std::string(pattern_));
  }

  void escape() {
    const auto set = [&](std::string_view members, bool negated = false) {
      if (in_class_) return replace(2, members);
      replace(2, negated ? "[^" : "[");
      (out_ += members) += ']';
    };
    switch (peek(1)) {
      case 's':
        return set(kSpaces);
      case 'S':
        return set(kNonSpaces);
      case 'w':
        return set(kWords);
      case 'W':
        if (in_class_) refuse("\\W inside [...]");
        return set(kWords, true);
      case 'u':
        return unicode_escape();
      case 'x':
      case 'p':
      case 'P': {  // whole, so that the brace is not taken for a repeat count
        const auto end = peek(2) == '{' ? pattern_.find('}', at_) : std::string_view::npos;
        return take(end == std::string_view::npos ? 2 : end + 1 - at_);
      }
      case 'h':
      case 'H':
        refuse("\\h, a hexadecimal digit to Oniguruma");
      case 'b':
      case 'B':
        if (!in_class_) refuse("\\b");
        return take(2);
      case 'C':
      case 'O':
      case 'y':
      case 'Y':
      case 'Q':
      case 'E':
      case 'g':
      case 'G':
        refuse(std::string("\\") + peek(1));
      default:
        return take(2);
    }
  }

  void unicode_escape() {
    for (std::size_t i = 2; i < 6; ++i)
      if (std::isxdigit(static_cast<unsigned char>(peek(i))) == 0) refuse("\\u without four hexadecimal digits");
    const std::string digits(pattern_.substr(at_ + 2, 4));
    replace(6, "\\x{" + digits + "}");
  }

  void begin_class() {
    in_class_ = true;
    take(peek(1) == '^' ? 2 : 1);
    if (peek(0) == ']') take(1);
  }

  void class_member(char c) {
    if (c == ']') in_class_ = false;
    if (c == '&' && peek(1) == '&') refuse("&& inside [...]");
    if (c == '[') {
      if (peek(1) != ':') refuse("a class inside [...]");
      const auto end = pattern_.find(":]", at_);
      return take(end == std::string_view::npos ? 1 : end + 2 - at_);
    }
    take(1);
  }

  void group() {
    if (peek(1) == '*') refuse("a verb (*...)");
    if (peek(1) != '?') return take(1);
    // Of the options only i means the same to both, and only for a group of its own.
    for (const std::string_view start : {"(?:", "(?=", "(?!", "(?>", "(?<", "(?i:", "(?-i:"})
      if (pattern_.substr(at_).starts_with(start)) return take(start.size());
    refuse("the group " + std::string(pattern_.substr(at_, 3)) + "...");
  }

  std::string_view pattern_;
  std::string_view what_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern, std::string_view what) {
  return Translator(pattern, what).run();
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    // Only ASCII punctuation may and need be escaped.
    if (std::ispunct(static_cast<unsigned char>(c)) != 0 && static_cast<unsigned char>(c) < 0x80) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace strata
