// Regular expressions as tokenizer.json writes them, run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace strata {

/// A compiled pattern. Hugging Face `tokenizers` runs patterns with Oniguruma in its Ruby syntax over Unicode text;
/// what PCRE2 reads differently is translated or, where that would be guesswork, refused.
class Regex {
 public:
  struct Match {
    std::size_t begin, end;
  };

  /// Throws Error{bad_model} that begins with `what` if the pattern is invalid or uses a refused construct.
  static Regex compile(std::string_view pattern, std::string_view what);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  /// Finds the matches of one regex in many texts, from left to right; of one thread.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex);
    Matcher(Matcher&&) noexcept;
    ~Matcher();
    /// The first match at or after `from`, with all of `text`, which must be valid UTF-8, as context. Throws
    /// Error{failure} if the search needs more backtracking or memory than any sane pattern does.
    std::optional<Match> find(std::string_view text, std::size_t from);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

/// The pattern for PCRE2 that means what `pattern` means to Oniguruma; throws like compile().
std::string translate_oniguruma(std::string_view pattern, std::string_view what);

/// A pattern that matches `text` itself.
std::string escape_regex(std::string_view text);

}  // namespace strata
