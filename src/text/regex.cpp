#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace strata {
namespace {

// A real tokenizer's pattern needs a few steps a character; even 100 MB of one letter stay far below these.
constexpr std::size_t kMaxPatternBytes = 1 << 16;
constexpr std::uint32_t kMatchLimit = 10'000'000;
constexpr std::uint32_t kHeapLimitKiB = 64 << 10;
constexpr std::size_t kLargeJitStack = 16 << 20;

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

PCRE2_SPTR chars(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
}

}  // namespace

struct Regex::Code {
  Handle<pcre2_code, pcre2_code_free> code;
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex Regex::compile(std::string_view pattern, std::string_view what) {
  const auto fail = [&](const std::string& why) -> Error {
    return {ErrorCode::bad_model, std::string(what) + ": " + why};
  };
  if (pattern.size() > kMaxPatternBytes)
    throw fail("the regular expression has " + std::to_string(pattern.size()) + " bytes, expected at most " +
               std::to_string(kMaxPatternBytes));
  const std::string translated = translate_oniguruma(pattern, what);
  const Handle<pcre2_compile_context, pcre2_compile_context_free> context(pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr, "out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE where = 0;
  // Ruby's ^ and $ match at every line, hence MULTILINE.
  const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  Handle<pcre2_code, pcre2_code_free> compiled(
      pcre2_compile(chars(translated), translated.size(), options, &code, &where, context.get()));
  if (compiled == nullptr)
    throw fail("expected a regular expression, found an error in it, " + reason(code) + ": " + std::string(pattern));
  // Where the system forbids writable code pages this fails, and pcre2_match interprets the pattern.
  pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::make_unique<Code>(Code{std::move(compiled)}));
}

struct Regex::Matcher::State {
  const pcre2_code* code = nullptr;
  Handle<pcre2_match_data, pcre2_match_data_free> data;
  Handle<pcre2_match_context, pcre2_match_context_free> context;
  Handle<pcre2_jit_stack, pcre2_jit_stack_free> large_stack;  // only if the default, 32 KiB, was too small
};

Regex::Matcher::Matcher(const Regex& regex) : state_(std::make_unique<State>()) {
  state_->code = regex.code_->code.get();
  state_->data.reset(pcre2_match_data_create(1, nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  CHECK(state_->data != nullptr && state_->context != nullptr, "out of memory");
  pcre2_set_match_limit(state_->context.get(), kMatchLimit);
  pcre2_set_heap_limit(state_->context.get(), kHeapLimitKiB);
}
Regex::Matcher::Matcher(Matcher&&) noexcept = default;
Regex::Matcher::~Matcher() = default;

std::optional<Regex::Match> Regex::Matcher::find(std::string_view text, std::size_t from) {
  const auto match = [&] {
    return pcre2_match(state_->code, chars(text), text.size(), from, PCRE2_NO_UTF_CHECK, state_->data.get(),
                       state_->context.get());
  };
  int result = match();
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && state_->large_stack == nullptr) {
    state_->large_stack.reset(pcre2_jit_stack_create(64 << 10, kLargeJitStack, nullptr));
    pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->large_stack.get());
    result = match();
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(state_->data.get());
  // \K may move the start of a match to anywhere.
  if (result >= 0 && range[0] >= from && range[0] <= range[1]) return Match{range[0], range[1]};
  throw Error(ErrorCode::failure, "the tokenizer's regular expression cannot be matched against this text: " +
                                      (result < 0 ? reason(result) : "the match runs backwards"));
}

}  // namespace strata
