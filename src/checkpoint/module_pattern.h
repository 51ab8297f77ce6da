// The patterns that declarations of quantisation name modules with.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

/// The spellings of one module that patterns are tried on: as normalise_module() leaves it, with `model.` for
/// `backbone.`, and both behind `language_model.`.
std::vector<std::string> module_spellings(std::string_view normalised);

/// One pattern; cheap to copy.
class ModulePattern {
 public:
  /// A shell glob of `*` and `?` over whole names.
  static ModulePattern glob(std::string_view normalised);
  /// The bare substring of old producers. One that ends in a digit does not end within a number: "layers.1" is not in
  /// "layers.10".
  static ModulePattern substring(std::string_view normalised);
  /// A regular expression that matches from the beginning of a name (Python's re.match). Throws Error{bad_model} that
  /// begins with `what` and quotes it if it does not compile.
  static ModulePattern regex(std::string_view expression, std::string_view what);
  /// Whether an entry is a glob rather than a plain name.
  static bool is_glob(std::string_view entry) { return entry.find_first_of("*?") != std::string_view::npos; }

  /// Throws Error{bad_model} if a regular expression runs into its limits.
  bool matches(const std::vector<std::string>& spellings) const;

 private:
  enum class Kind { glob, substring, regex };
  struct Code;
  ModulePattern(Kind kind, std::string_view text) : kind_(kind), text_(text) {}
  bool regex_matches(std::string_view name) const;

  Kind kind_;
  std::string text_;
  std::shared_ptr<const Code> code_;
};

}  // namespace strata
