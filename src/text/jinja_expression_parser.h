// Parses the expressions of a Jinja template; the parser of its statements builds on it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace strata::jinja {

/// jinja2's grammar of expressions, by recursive descent. Its trees are at most kMaxTreeDepth deep, so that they can be
/// walked and freed by recursion.
class ExpressionParser {
 protected:
  static constexpr int kMaxTreeDepth = 200;
  static constexpr int kMaxParseDepth = 100;

  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  /// Counts how deep statements and expressions are nested in each other.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxParseDepth) parser_.fail("is nested too deeply");
    }
    ~Nesting() { --parser_.nesting_; }

   private:
    ExpressionParser& parser_;
  };

  const Token& current() const { return tokens_[pos_]; }
  const Token& ahead() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  std::string take_name();
  void expect(Token::Kind kind, const char* what);
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void fail_unexpected(const std::string& wanted) const;

  /// An expression, with `a if b else c` unless told otherwise.
  ExprPtr parse_expression(bool conditional = true);
  /// An expression, or several with commas: a tuple.
  ExprPtr parse_tuple(bool conditional = true, bool in_parentheses = false);
  /// `| f(x) | g ...` after `input`; `inline_start`: the first bar is left out.
  ExprPtr parse_filters(ExprPtr input, bool inline_start = false);

  std::vector<MacroDef*> open_macros_;  // what the names varargs, kwargs and caller belong to

 private:
  template <typename Node>
  ExprPtr make(int line, int depth, Node node) const;
  static int depth_of(const ExprPtr& expr) { return expr ? expr->depth : 0; }
  static int depth_of(const CallArgs& args);

  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filters = true);
  ExprPtr parse_primary();
  ExprPtr parse_name();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr object);
  ExprPtr parse_subscript(ExprPtr object);
  ExprPtr parse_filters_and_tests(ExprPtr input);
  ExprPtr parse_test(ExprPtr input);
  ExprPtr parse_call(ExprPtr callee);
  CallArgs parse_call_args();
  bool at_tuple_end() const;

  std::vector<Token> tokens_;
  std::size_t pos_ = 0;
  int nesting_ = 0;
};

}  // namespace strata::jinja
