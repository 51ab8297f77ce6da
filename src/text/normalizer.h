// Unicode normalisation, with the way back to the bytes that were normalised.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "text/alignment.h"

namespace strata {

/// The `normalizer` of a tokenizer.json: null, NFC, NFD, NFKC, NFKD, or a Sequence of these, which is again one of
/// them.
class Normalizer {
 public:
  Normalizer() = default;
  /// Throws Error{bad_model} that begins with `what` for any other type.
  static Normalizer parse(const Json& json, std::string_view what);

  bool empty() const { return !decompose_; }
  /// "none", "NFC", ...
  std::string name() const;
  /// `text` must be valid UTF-8. `alignment`, if wanted, comes empty and leads back from the result to `text`. Takes
  /// O(n log n), however many combining marks follow each other.
  std::string normalize(std::string_view text, Alignment* alignment = nullptr) const;

 private:
  bool decompose_ = false;  // all forms do that first
  bool compatibility_ = false;
  bool compose_ = false;
};

}  // namespace strata
