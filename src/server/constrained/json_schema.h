// JSON schemas to grammars.
#pragma once

#include <cstddef>

#include "base/json.h"
#include "server/constrained/grammar.h"
#include "server/constrained/schema_error.h"

namespace strata {

/// What a schema may cost; beyond it is refused by name.
struct SchemaLimits {
  int depth = 64;                      // of the schema's own JSON
  std::size_t bytes = 1 << 20;         // of the schema, written without blanks
  std::size_t properties = 5000;       // in all
  std::size_t enum_bytes = 256 << 10;  // in all
  double seconds = 2;
};

/// The grammar of the JSON texts that are valid under `schema` (draft 2020-12), or SchemaError.
///
/// Enforced exactly: `type` (also a list), `properties`, `required`, `additionalProperties` (boolean or schema),
/// `items` (schema or boolean), `minItems`, `maxItems`, `minLength`, `maxLength` (in code points), `minimum`,
/// `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `enum`, `const`, `anyOf`, local `$ref` (recursive too), `$defs`
/// and its older name `definitions`, boolean schemas. Annotations: $schema, $id, $comment, title, description, default,
/// examples. Any other keyword is refused, and so are `anyOf` and `$ref` beside keywords other than annotations,
/// `$defs` and `type`.
///
/// Every text of the grammar is valid under the schema. Of the valid texts it has those that are written so:
/// - Declared keys come in the schema's order, other keys after them. That other keys differ from each other isn't
///   enforced, that they differ from the declared ones is, whatever their escapes.
/// - Declared keys, enum and const are spelled as JSON libraries write them: characters themselves or, beyond ASCII,
/// all
///   as \uXXXX in lower case. Numbers of an enum or const have one spelling, the shortest.
/// - Where JSON allows blanks stands nothing, a space, or a line end and up to 20 spaces; before the whole value up to
/// 4
///   line ends, after it nothing: a model can't idle.
/// - Numbers have at most 20 digits before the point and 20 after it (more if a bound has more); exponents of one or
/// two
///   digits where there is no bound; integers have neither point nor exponent.
/// - Containers are nested at most 64 deep, which also ends a recursive schema.
/// Where a value begins, at most kMaxStacks alternatives are followed at a time.
/// A schema that has no value of finite depth is refused.
Grammar compile_json_schema(const Json& schema, const SchemaLimits& limits = {});

/// Any JSON object, with the same limits on blanks, digits and depth.
Grammar json_object_grammar();

}  // namespace strata
