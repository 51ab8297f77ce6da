#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace strata {
namespace {

bool is_space(char32_t c) {  // White_Space (Unicode, PropList.txt)
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// \w of UTS #18, annex C: Alphabetic, Mark, Decimal_Number, Connector_Punctuation, Join_Control.
bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      break;
  }
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

/// The last character of a valid text that is not empty.
Utf8Char read_last_utf8(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
  return read_utf8(text.substr(begin));
}

bool ends_with_word(std::string_view text) { return !text.empty() && is_word(read_last_utf8(text).codepoint); }
bool begins_with_word(std::string_view text) { return !text.empty() && is_word(read_utf8(text).codepoint); }

/// How many bytes of white space `text` ends or begins with.
std::size_t spaces_at_end(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const Utf8Char last = read_last_utf8(text.substr(0, end));
    if (!is_space(last.codepoint)) break;
    end -= last.bytes;
  }
  return text.size() - end;
}
std::size_t spaces_at_begin(std::string_view text) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const Utf8Char first = read_utf8(text.substr(begin));
    if (!is_space(first.codepoint)) break;
    begin += first.bytes;
  }
  return begin;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {
  std::erase_if(patterns_, [](const Pattern& p) { return p.text.empty(); });
  std::stable_sort(patterns_.begin(), patterns_.end(),
                   [](const Pattern& a, const Pattern& b) { return a.text < b.text; });
  for (const Pattern& pattern : patterns_) is_first_byte_[static_cast<unsigned char>(pattern.text[0])] = true;
}

const AddedTokenMatcher::Pattern* AddedTokenMatcher::longest_at(std::string_view text, std::size_t at,
                                                                const Accept& accept) const {
  // The patterns that agree with the text so far are neighbours, the one that ends here is the first of them.
  const Pattern* longest = nullptr;
  auto low = patterns_.begin(), high = patterns_.end();
  for (std::size_t size = 0; low != high && at + size < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at + size]);
    const auto byte_of = [size](const Pattern& p) { return static_cast<unsigned char>(p.text[size]); };
    low = std::partition_point(low, high, [&](const Pattern& p) { return byte_of(p) < byte; });
    high = std::partition_point(low, high, [&](const Pattern& p) { return byte_of(p) == byte; });
    ++size;
    const auto ends_here = [size](const Pattern& p) { return p.text.size() == size; };
    if (low != high && ends_here(*low)) {
      if (!accept || accept(at, at + size)) longest = &*low;
      low = std::find_if_not(low, high, ends_here);  // normalisation may have made several patterns equal
    }
  }
  return longest;
}

std::vector<AddedTokenMatcher::Part> AddedTokenMatcher::split(std::string_view text, const Accept& accept) const {
  std::vector<Part> parts;
  std::size_t done = 0;  // all before it is in parts
  std::size_t at = 0;
  while (at < text.size() && !empty()) {
    const Pattern* pattern = nullptr;
    if (is_first_byte_[static_cast<unsigned char>(text[at])]) pattern = longest_at(text, at, accept);
    if (pattern == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + pattern->text.size();
    at = end;
    const AddedToken& token = pattern->token;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end)))) continue;
    if (token.lstrip) begin = std::max(begin - spaces_at_end(text.substr(0, begin)), done);
    if (token.rstrip) end += spaces_at_begin(text.substr(end));
    if (done < begin) parts.push_back({done, begin, std::nullopt});
    parts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), std::nullopt});
  return parts;
}

}  // namespace strata
