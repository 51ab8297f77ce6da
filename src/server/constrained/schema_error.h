// What a JSON schema was refused for.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace strata {

/// An Error{usage} about a JSON schema: it asks for what can't be enforced exactly, is malformed, too large, or
/// describes no value at all. The OpenAI layer answers 400 with the code "unsupported_schema" and a param that ends in
/// pointer().
class SchemaError : public Error {
 public:
  /// `pointer`: where, as a URI fragment, e.g. "#/properties/name"; "#" is the whole. `why`: the rest of the sentence.
  SchemaError(const std::string& pointer, std::string keyword, const std::string& why)
      : Error(ErrorCode::usage, "JSON schema, " + pointer + ": " + why),
        pointer_(pointer),
        keyword_(std::move(keyword)) {}

  /// The JSON pointer of the schema that holds the keyword.
  const std::string& pointer() const { return pointer_; }
  /// E.g. "pattern"; empty if no single keyword is to blame.
  const std::string& keyword() const { return keyword_; }

 private:
  std::string pointer_, keyword_;
};

}  // namespace strata
