#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace strata {
namespace {

using CodePoint = utf8proc_int32_t;

bool is_mark(CodePoint c) {
  const auto category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

/// Whether normalisation may join or reorder `c` with what stands before it: marks, and Hangul vowels and finals.
bool may_join_previous(CodePoint c) {
  return (c >= 0x1160 && c <= 0x11FF) || (c >= 0xD7B0 && c <= 0xD7FF) || is_mark(c);
}

/// Puts each run of marks into canonical order (Unicode, D109). utf8proc does it with a sort that is quadratic.
void order_marks(std::vector<CodePoint>& text) {
  const auto combining_class = [](CodePoint c) { return utf8proc_get_property(c)->combining_class; };
  const auto is_starter = [&](CodePoint c) { return combining_class(c) == 0; };
  const auto by_class = [&](CodePoint a, CodePoint b) { return combining_class(a) < combining_class(b); };
  for (auto run = text.begin(); run != text.end();) {
    run = std::find_if_not(run, text.end(), is_starter);
    const auto end = std::find_if(run, text.end(), is_starter);
    std::stable_sort(run, end, by_class);
    run = end;
  }
}

class Decomposer {
 public:
  explicit Decomposer(bool compatibility)
      : options_(static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                (compatibility ? UTF8PROC_COMPAT : 0))) {}

  /// Appends the full decomposition of `c`, not in canonical order.
  void append(CodePoint c, std::vector<CodePoint>& out) const {
    constexpr std::size_t kLongest = 32;  // U+FDFA has 18
    const std::size_t old = out.size();
    out.resize(old + kLongest);
    int boundary = 0;
    const auto count = utf8proc_decompose_char(c, out.data() + old, kLongest, options_, &boundary);
    CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(kLongest), "no character decomposes to so many");
    out.resize(old + static_cast<std::size_t>(count));
  }

 private:
  utf8proc_option_t options_;
};

}  // namespace

Normalizer Normalizer::parse(const Json& json, std::string_view what) {
  Normalizer result;
  if (json.is_null()) return result;
  const std::string type = type_field(json, what);
  if (type == "Sequence") {
    // The forms swallow each other: compatibility once lost stays lost, and the last says whether to compose.
    for (const Json& part : array_field(json, "normalizers", what)) {
      if (type_field(part, what) == "Sequence") refuse_field(what, "no Sequence in a Sequence", "one");
      const Normalizer next = parse(part, what);
      result.decompose_ = true;
      result.compatibility_ |= next.compatibility_;
      result.compose_ = next.compose_;
    }
    return result;
  }
  if (type != "NFC" && type != "NFD" && type != "NFKC" && type != "NFKD")
    refuse_field(what, "type NFC, NFD, NFKC, NFKD or Sequence", type);
  result.decompose_ = true;
  result.compatibility_ = type.size() == 4;
  result.compose_ = type.back() == 'C';
  return result;
}

std::string Normalizer::name() const {
  if (empty()) return "none";
  return std::string("NF") + (compatibility_ ? "K" : "") + (compose_ ? "C" : "D");
}

std::string Normalizer::normalize(std::string_view text, Alignment* alignment) const {
  if (empty()) return std::string(text);
  const Decomposer decomposer(compatibility_);
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  const auto copy = [&](std::string_view part) {
    out += part;
    if (alignment != nullptr) alignment->add_copied(part.size());
  };

  // One chunk at a time: a character and all that normalisation might join to it.
  std::vector<CodePoint> chunk;
  std::size_t at = 0;
  while (at < text.size()) {
    // A character of ASCII normalises to itself unless a mark follows it.
    std::size_t ascii = at;
    while (ascii < text.size() && static_cast<unsigned char>(text[ascii]) < 0x80) ++ascii;
    if (ascii < text.size() && ascii > at) --ascii;
    copy(text.substr(at, ascii - at));
    at = ascii;
    if (at == text.size()) break;

    const std::size_t begin = at;
    chunk.clear();
    bool alone = true;
    while (at < text.size()) {
      const Utf8Char next = read_utf8(text.substr(at));
      const std::size_t old = chunk.size();
      decomposer.append(static_cast<CodePoint>(next.codepoint), chunk);
      if (at > begin) {
        // A character that is no mark itself may still decompose to one.
        if (old < chunk.size() && !may_join_previous(chunk[old])) {
          chunk.resize(old);
          break;
        }
        alone = false;
      } else {
        alone = chunk.size() == 1 && chunk[0] == static_cast<CodePoint>(next.codepoint);
      }
      at += next.bytes;
    }
    const std::string_view source = text.substr(begin, at - begin);
    if (alone) {
      copy(source);
      continue;
    }
    order_marks(chunk);
    if (compose_) {
      const auto count = utf8proc_normalize_utf32(chunk.data(), static_cast<utf8proc_ssize_t>(chunk.size()),
                                                  static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
      CHECK(count >= 0, "utf8proc composes any code points");
      chunk.resize(static_cast<std::size_t>(count));
    }
    const std::size_t old = out.size();
    for (const CodePoint c : chunk) append_utf8(static_cast<char32_t>(c), out);
    if (std::string_view(out).substr(old) == source) {
      if (alignment != nullptr) alignment->add_copied(source.size());
    } else if (alignment != nullptr) {
      alignment->add_replaced(source.size(), out.size() - old);
    }
  }
  return out;
}

}  // namespace strata
