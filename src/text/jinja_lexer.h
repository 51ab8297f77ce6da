// Splits the source of a Jinja template into tokens, with white space control already applied.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata::jinja {

struct Token {
  enum class Kind { data, variable_begin, variable_end, block_begin, block_end, name, string, integer, real, op, end };
  Kind kind = Kind::end;
  std::string text;  // of data, a name, an operator; the unescaped value of a string
  std::int64_t integer = 0;
  double real = 0;
  int line = 1;

  bool is_name(std::string_view name) const { return kind == Kind::name && text == name; }
  bool is_op(std::string_view op) const { return kind == Kind::op && text == op; }
};

/// A template that is not valid Jinja.
struct SyntaxError {
  int line;
  std::string message;
};

/// Tokens of a template, an `end` last. trim_blocks and lstrip_blocks are on, line ends become "\n", one line end at
/// the end of the source is dropped, comments and raw blocks are resolved: jinja2's Lexer as transformers sets it up.
/// Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

}  // namespace strata::jinja
