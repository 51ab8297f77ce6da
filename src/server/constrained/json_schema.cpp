#include "server/constrained/json_schema.h"

#include "server/constrained/schema_compiler.h"

namespace strata {

Grammar compile_json_schema(const Json& schema, const SchemaLimits& limits) {
  Grammar grammar;
  SchemaCost cost;
  grammar.root = SchemaCompiler(schema, "#", limits, cost, grammar).compile(schema, "#");
  if (!grammar.finish())
    throw SchemaError("#", "anyOf",
                      "it has more than " + std::to_string(Grammar::kMaxAlternatives) +
                          " alternatives once references are followed: make it smaller");
  if (!grammar.has_texts())
    throw SchemaError("#", "",
                      "no value is valid under it: bounds exclude each other, a required property is impossible, or a "
                      "reference needs itself without end");
  return grammar;
}

Grammar json_object_grammar() { return compile_json_schema({{"type", "object"}}); }

}  // namespace strata
