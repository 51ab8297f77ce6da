// Text: runs of origin, UTF-8, and the string operations of Python that keep them.
#include "text/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace strata::jinja {
namespace {

bool is_line_end(char32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

// Every character through `map`, which appends its image.
template <typename Map>
Text map_characters(const Text& text, Map map) {
  Text out;
  std::string image;
  for (std::size_t i = 0; i < text.size();) {
    const Character c = character_at(text.bytes(), i);
    image.clear();
    map(image, c, std::string_view(text.bytes()).substr(i, c.bytes));
    out.append(image, text.from_input_at(i));
    i += c.bytes;
  }
  return out;
}

bool is_invalid(char32_t code) { return code >= 0xDC00 && code <= 0xDCFF; }

void append_upper(std::string& out, const Character& c, std::string_view bytes) {
  if (is_invalid(c.code)) {
    out += bytes;
  } else if (c.code == U'ß') {
    out += "SS";
  } else {
    append_utf8(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c.code))), out);
  }
}

void append_lower(std::string& out, const Character& c, std::string_view bytes) {
  if (is_invalid(c.code)) {
    out += bytes;
  } else {
    append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code))), out);
  }
}

// Start of the character that ends before `end` > 0.
std::size_t previous_start(std::string_view text, std::size_t end) {
  for (std::size_t length = 2; length <= 4 && length <= end; ++length) {
    if (character_at(text, end - length).bytes == length) return end - length;
  }
  return end - 1;
}

std::vector<Text> split_at_space(const Text& text, long long limit, bool from_right) {
  struct Word {
    std::size_t begin, end;
  };
  std::vector<Word> words;
  bool in_word = false;
  for (std::size_t i = 0; i < text.size();) {
    const Character c = character_at(text.bytes(), i);
    if (is_space(c.code)) {
      in_word = false;
    } else if (!in_word) {
      in_word = true;
      words.push_back({i, i + c.bytes});
    } else {
      words.back().end = i + c.bytes;
    }
    i += c.bytes;
  }
  // What the limit leaves unsplit reaches to the far end of the text, without the white space next to the last cut.
  if (limit >= 0 && words.size() > static_cast<std::size_t>(limit) + 1) {
    const auto kept = static_cast<std::size_t>(limit);
    if (from_right) {
      const std::size_t joined = words.size() - kept;
      words[joined - 1].begin = 0;
      words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(joined) - 1);
    } else {
      words[kept].end = text.size();
      words.resize(kept + 1);
    }
  } else if (limit >= 0 && words.size() == static_cast<std::size_t>(limit) + 1) {
    (from_right ? words.front().begin : words.back().end) = from_right ? 0 : text.size();
  }
  std::vector<Text> out;
  for (const Word& word : words) out.push_back(text.slice(word.begin, word.end));
  return out;
}

}  // namespace

Text::Text(std::string bytes, bool from_input) : bytes_(std::move(bytes)) {
  if (bytes_.size() > kMaxTextBytes) throw Failure("a string grows beyond 16 MiB");
  if (!bytes_.empty()) runs_.push_back({bytes_.size(), from_input});
}

bool Text::has_input() const {
  return std::any_of(runs_.begin(), runs_.end(), [](const Run& run) { return run.from_input; });
}

bool Text::from_input_at(std::size_t offset) const {
  return std::upper_bound(runs_.begin(), runs_.end(), offset,
                          [](std::size_t at, const Run& run) { return at < run.end; })
      ->from_input;
}

Text Text::slice(std::size_t begin, std::size_t end) const {
  Text out;
  if (begin >= end) return out;
  out.bytes_ = bytes_.substr(begin, end - begin);
  auto run = std::upper_bound(runs_.begin(), runs_.end(), begin,
                              [](std::size_t at, const Run& candidate) { return at < candidate.end; });
  for (; run != runs_.end(); ++run) {
    out.runs_.push_back({std::min(run->end, end) - begin, run->from_input});
    if (run->end >= end) break;
  }
  return out;
}

void Text::append(const Text& tail) {
  std::size_t begin = 0;
  for (const Run& run : tail.runs_) {
    append(std::string_view(tail.bytes_).substr(begin, run.end - begin), run.from_input);
    begin = run.end;
  }
}

void Text::append(std::string_view bytes, bool from_input) {
  if (bytes.empty()) return;
  if (bytes.size() > kMaxTextBytes - bytes_.size()) throw Failure("a string grows beyond 16 MiB");
  bytes_ += bytes;
  if (!runs_.empty() && runs_.back().from_input == from_input) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), from_input});
  }
}

std::vector<TextSegment> Text::segments() const {
  std::vector<TextSegment> out;
  std::size_t begin = 0;
  for (const Run& run : runs_) {
    out.push_back({bytes_.substr(begin, run.end - begin), run.from_input});
    begin = run.end;
  }
  return out;
}

Character character_at(std::string_view text, std::size_t offset) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset;
  if (bytes[0] < 0x80) return {bytes[0], 1};
  utf8proc_int32_t code = 0;
  const auto left = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size() - offset, 4));
  const utf8proc_ssize_t length = utf8proc_iterate(bytes, left, &code);
  if (length <= 0) return {0xDC00u + bytes[0], 1};
  return {static_cast<char32_t>(code), static_cast<std::size_t>(length)};
}

std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) i += character_at(text, i).bytes;
  return count;
}

std::size_t byte_offset(std::string_view text, std::size_t index) {
  std::size_t offset = 0;
  while (index-- > 0 && offset < text.size()) offset += character_at(text, offset).bytes;
  return offset;
}

bool is_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

Text upper(const Text& text) { return map_characters(text, append_upper); }
Text lower(const Text& text) { return map_characters(text, append_lower); }

Text capitalize(const Text& text) {
  if (text.empty()) return text;
  const std::size_t first = character_at(text.bytes(), 0).bytes;
  Text out = upper(text.slice(0, first));
  out.append(lower(text.slice(first, text.size())));
  return out;
}

Text strip(const Text& text, const std::string* set, Side side) {
  const std::string_view bytes = text.bytes();
  const auto goes = [&](std::size_t at) {
    const Character c = character_at(bytes, at);
    if (set == nullptr) return is_space(c.code);
    for (std::size_t i = 0; i < set->size();) {
      const Character member = character_at(*set, i);
      if (member.code == c.code) return true;
      i += member.bytes;
    }
    return false;
  };
  std::size_t begin = 0, end = bytes.size();
  if (side != Side::right) {
    while (begin < end && goes(begin)) begin += character_at(bytes, begin).bytes;
  }
  if (side != Side::left) {
    while (end > begin && goes(previous_start(bytes, end))) end = previous_start(bytes, end);
  }
  return text.slice(begin, end);
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const Character c = character_at(text.bytes(), i);
    std::size_t next = i + c.bytes;
    if (is_line_end(c.code)) {
      if (c.code == '\r' && next < text.size() && text.bytes()[next] == '\n') ++next;
      lines.push_back(text.slice(begin, keep_ends ? next : i));
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) lines.push_back(text.slice(begin, text.size()));
  return lines;
}

std::vector<Text> split(const Text& text, const std::string* separator, long long limit, bool from_right) {
  if (separator == nullptr) return split_at_space(text, limit, from_right);
  std::vector<Text> parts;
  const std::string& bytes = text.bytes();
  if (from_right) {
    std::size_t end = bytes.size();
    while (limit-- != 0 && end >= separator->size()) {
      const std::size_t at = bytes.rfind(*separator, end - separator->size());
      if (at == std::string::npos) break;
      parts.push_back(text.slice(at + separator->size(), end));
      end = at;
    }
    parts.push_back(text.slice(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  std::size_t begin = 0;
  while (limit-- != 0) {
    const std::size_t at = bytes.find(*separator, begin);
    if (at == std::string::npos) break;
    parts.push_back(text.slice(begin, at));
    begin = at + separator->size();
  }
  parts.push_back(text.slice(begin, bytes.size()));
  return parts;
}

Text replace(const Text& text, const std::string& old, const Text& replacement, long long limit) {
  Text out;
  if (old.empty()) {
    for (std::size_t i = 0; i <= text.size();) {
      if (limit-- == 0) {
        out.append(text.slice(i, text.size()));
        break;
      }
      out.append(replacement);
      if (i == text.size()) break;
      const std::size_t next = i + character_at(text.bytes(), i).bytes;
      out.append(text.slice(i, next));
      i = next;
    }
    return out;
  }
  std::size_t begin = 0;
  while (limit-- != 0) {
    const std::size_t at = text.bytes().find(old, begin);
    if (at == std::string::npos) break;
    out.append(text.slice(begin, at));
    out.append(replacement);
    begin = at + old.size();
  }
  out.append(text.slice(begin, text.size()));
  return out;
}

Text escape_html(const Text& text) {
  return map_characters(text, [](std::string& out, const Character& c, std::string_view bytes) {
    switch (c.code) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += bytes;
    }
  });
}

}  // namespace strata::jinja
