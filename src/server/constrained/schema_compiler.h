// A schema's places, each compiled once, to values of a grammar.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "server/constrained/grammar.h"
#include "server/constrained/json_schema.h"
#include "server/constrained/schema_keywords.h"

namespace strata {

/// The types of a value; of 2.0 it is kInteger.
TypeSet type_of(const Json& value);

/// What compilers of one request have used up together.
struct SchemaCost {
  std::size_t properties = 0, enum_bytes = 0;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

/// Compiles the schemas of one document, which must outlive it, into `grammar`. Nothing recurses over references: they
/// are values at once, and compiled when their turn comes.
class SchemaCompiler {
 public:
  /// Throws SchemaError if the document is too large or too deep. `place`: the pointer of `document` itself.
  SchemaCompiler(const Json& document, std::string place, const SchemaLimits& limits, SchemaCost& cost,
                 Grammar& grammar);

  /// The value of a schema in the document and of all that it refers to. Throws SchemaError.
  ValueId compile(const Json& schema, const std::string& pointer);
  /// A value that is any of `types`.
  ValueId free_value(TypeSet types);

 private:
  ValueId value_of(const Json& schema, const std::string& pointer, TypeSet types);
  void fill(ValueId value, const Json& schema, const std::string& pointer, TypeSet types);
  ValueId resolve(const std::string& reference, const std::string& pointer, TypeSet types);
  void add_enumerated(ValueId value, const SchemaKeywords& keywords);
  void add_alternatives(ValueId value, const SchemaKeywords& keywords);
  void add_typed(ValueId value, const SchemaKeywords& keywords);
  /// A value that is exactly this.
  ValueId literal(const Json& value);
  ShapeId text_shape(std::vector<std::string> words);
  // Nothing if no value is of the shape.
  std::optional<ShapeId> object_shape(const SchemaKeywords& keywords);
  std::optional<ShapeId> array_shape(const SchemaKeywords& keywords);

  const Json& document_;
  const std::string place_;
  const SchemaLimits& limits_;
  SchemaCost& cost_;
  Grammar& grammar_;
  std::map<std::pair<const Json*, TypeSet>, ValueId> known_;
  struct Pending {
    ValueId value;
    const Json* schema;
    std::string pointer;
    TypeSet types;
  };
  std::deque<Pending> pending_;
  std::map<TypeSet, ValueId> free_;
};

/// The shape of an object with these properties, and those values under other keys.
ObjectShape make_object(Grammar& grammar, const std::vector<std::string>& names, std::vector<ValueId> values,
                        const std::vector<bool>& required, ValueId additional);

/// The ways in which a string is spelled: characters themselves and, if there are others than ASCII, as \uXXXX.
std::vector<std::string> spellings(const std::string& text);

/// `text` as a part of a JSON pointer in a URI fragment.
std::string pointer_part(std::string_view text);

}  // namespace strata
