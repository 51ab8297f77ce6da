// Parses a Jinja template.
#pragma once

#include <string_view>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace strata::jinja {

/// Statements: for (with loop controls), if, set, macro, call, filter, with, print, generation; raw and comments are
/// the lexer's. No template inheritance or inclusion. Throws SyntaxError.
Block parse(std::string_view source);

}  // namespace strata::jinja
