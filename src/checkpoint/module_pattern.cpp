// Globs, substrings and regular expressions over module names, each in bounded time.
#include "checkpoint/module_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "base/check.h"
#include "base/error.h"
#include "base/quote.h"

namespace strata {
namespace {

// A pattern over names of some dozens of bytes needs a few hundred steps.
constexpr std::size_t kMaxPatternBytes = 1024;
constexpr std::uint32_t kMatchLimit = 100'000;
constexpr std::uint32_t kHeapLimitKiB = 1024;

template <auto destroy>
struct Destroy {
  template <typename T>
  void operator()(T* object) const {
    destroy(object);
  }
};
template <typename T, auto destroy>
using Handle = std::unique_ptr<T, Destroy<destroy>>;

std::string reason(int code) {
  PCRE2_UCHAR message[256] = {};
  pcre2_get_error_message(code, message, sizeof(message));
  return reinterpret_cast<const char*>(message);
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

bool substring_matches(std::string_view text, std::string_view name) {
  for (std::size_t at = name.find(text); at != std::string_view::npos; at = name.find(text, at + 1)) {
    const std::size_t end = at + text.size();
    const bool within_number = is_digit(text.back()) && end < name.size() && is_digit(name[end]);
    if (!within_number) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> module_spellings(std::string_view normalised) {
  constexpr std::string_view kBackbone = "backbone.";
  std::vector<std::string> spellings{std::string(normalised)};
  if (normalised.starts_with(kBackbone))
    spellings.push_back("model." + std::string(normalised.substr(kBackbone.size())));
  for (std::size_t i = 0, count = spellings.size(); i < count; ++i)
    spellings.push_back("language_model." + spellings[i]);
  return spellings;
}

struct ModulePattern::Code {
  Handle<pcre2_code, pcre2_code_free> code;
  Handle<pcre2_match_context, pcre2_match_context_free> limits;
  std::string what;
};

ModulePattern ModulePattern::glob(std::string_view normalised) { return {Kind::glob, normalised}; }

ModulePattern ModulePattern::substring(std::string_view normalised) {
  CHECK(!normalised.empty(), "the empty text is in every name");
  return {Kind::substring, normalised};
}

ModulePattern ModulePattern::regex(std::string_view expression, std::string_view what) {
  const auto fail = [&](const std::string& why) -> Error {
    return {ErrorCode::bad_model, std::string(what) + ": the pattern " + in_quotes(expression) + " " + why};
  };
  if (expression.size() > kMaxPatternBytes)
    throw fail("has " + std::to_string(expression.size()) + " bytes, expected at most " +
               std::to_string(kMaxPatternBytes));
  ModulePattern pattern(Kind::regex, expression);
  auto code = std::make_shared<Code>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  code->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.text_.c_str()), pattern.text_.size(),
                                 PCRE2_UTF | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (!code->code)
    throw fail("is no valid regular expression: " + reason(error) + " at byte " + std::to_string(offset));
  code->limits.reset(pcre2_match_context_create(nullptr));
  CHECK(code->limits != nullptr, "out of memory");
  pcre2_set_match_limit(code->limits.get(), kMatchLimit);
  pcre2_set_heap_limit(code->limits.get(), kHeapLimitKiB);
  code->what = what;
  pattern.code_ = std::move(code);
  return pattern;
}

bool ModulePattern::matches(const std::vector<std::string>& spellings) const {
  switch (kind_) {
    case Kind::substring:
      return substring_matches(text_, spellings.front());
    case Kind::glob:
      return std::any_of(spellings.begin(), spellings.end(), [&](const auto& s) { return glob_matches(text_, s); });
    case Kind::regex:
      return std::any_of(spellings.begin(), spellings.end(), [&](const auto& s) { return regex_matches(s); });
  }
  return false;
}

bool ModulePattern::regex_matches(std::string_view name) const {
  const Handle<pcre2_match_data, pcre2_match_data_free> match(pcre2_match_data_create(1, nullptr));
  CHECK(match != nullptr, "out of memory");
  const int found = pcre2_match(code_->code.get(), reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0,
                                match.get(), code_->limits.get());
  if (found == PCRE2_ERROR_MATCHLIMIT || found == PCRE2_ERROR_HEAPLIMIT || found == PCRE2_ERROR_DEPTHLIMIT)
    throw Error(ErrorCode::bad_model, code_->what + ": the pattern " + in_quotes(text_) +
                                          " needs more backtracking than any sane one does: " + reason(found));
  return found >= 0;
}

}  // namespace strata
