// Recursive descent over jinja2's levels of precedence: if, or, and, not, comparison, + -, ~, * / // %, **, unary,
// then filters and tests, which bind tighter than all of them.
#include "text/jinja_expression_parser.h"

#include <algorithm>
#include <optional>

namespace strata::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::data:
      return "template text";
    case Token::Kind::variable_begin:
      return "'{{'";
    case Token::Kind::variable_end:
      return "'}}'";
    case Token::Kind::block_begin:
      return "'{%'";
    case Token::Kind::block_end:
      return "'%}'";
    case Token::Kind::string:
      return "a string";
    case Token::Kind::integer:
    case Token::Kind::real:
      return "a number";
    case Token::Kind::name:
    case Token::Kind::op:
      return "'" + token.text + "'";
    case Token::Kind::end:
      return "the end of the template";
  }
  return "";
}

std::optional<CompareOp> comparison(const Token& token) {
  static constexpr std::pair<std::string_view, CompareOp> kOperators[] = {
      {"==", CompareOp::equal},      {"!=", CompareOp::not_equal}, {"<", CompareOp::less},
      {"<=", CompareOp::less_equal}, {">", CompareOp::greater},    {">=", CompareOp::greater_equal}};
  for (const auto& [text, op] : kOperators) {
    if (token.is_op(text)) return op;
  }
  return std::nullopt;
}

}  // namespace

Token ExpressionParser::take() {
  Token token = tokens_[pos_];
  if (pos_ + 1 < tokens_.size()) ++pos_;
  return token;
}

bool ExpressionParser::skip_op(std::string_view op) {
  if (!current().is_op(op)) return false;
  take();
  return true;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  take();
  return true;
}

void ExpressionParser::expect_op(std::string_view op) {
  if (!skip_op(op)) fail_unexpected("'" + std::string(op) + "'");
}

void ExpressionParser::expect_name(std::string_view name) {
  if (!skip_name(name)) fail_unexpected("'" + std::string(name) + "'");
}

std::string ExpressionParser::take_name() {
  if (current().kind != Token::Kind::name) fail_unexpected("a name");
  return take().text;
}

void ExpressionParser::expect(Token::Kind kind, const char* what) {
  if (current().kind != kind) fail_unexpected(what);
  take();
}

void ExpressionParser::fail(const std::string& message) const { throw SyntaxError{current().line, message}; }

void ExpressionParser::fail_unexpected(const std::string& wanted) const {
  fail("expected " + wanted + ", found " + describe(current()));
}

template <typename Node>
ExprPtr ExpressionParser::make(int line, int depth, Node node) const {
  if (depth >= kMaxTreeDepth) fail("an expression is nested or chained too deeply");
  return std::make_unique<Expr>(Expr{line, depth + 1, std::move(node)});
}

int ExpressionParser::depth_of(const CallArgs& args) {
  int depth = std::max(depth_of(args.star), depth_of(args.star_star));
  for (const ExprPtr& arg : args.positional) depth = std::max(depth, depth_of(arg));
  for (const auto& [name, arg] : args.named) depth = std::max(depth, depth_of(arg));
  return depth;
}

ExprPtr ExpressionParser::parse_expression(bool conditional) {
  const Nesting nesting(*this);
  const int line = current().line;
  ExprPtr value = parse_or();
  while (conditional && skip_name("if")) {
    ExprPtr condition = parse_or();
    ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    const int depth = std::max({depth_of(value), depth_of(condition), depth_of(otherwise)});
    value = make(line, depth, ConditionalExpr{std::move(condition), std::move(value), std::move(otherwise)});
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  ExprPtr left = parse_and();
  while (current().is_name("or")) {
    const int line = take().line;
    ExprPtr right = parse_and();
    const int depth = std::max(depth_of(left), depth_of(right));
    left = make(line, depth, LogicExpr{false, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  ExprPtr left = parse_not();
  while (current().is_name("and")) {
    const int line = take().line;
    ExprPtr right = parse_not();
    const int depth = std::max(depth_of(left), depth_of(right));
    left = make(line, depth, LogicExpr{true, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Nesting nesting(*this);
  const int line = take().line;
  ExprPtr operand = parse_not();
  const int depth = depth_of(operand);
  return make(line, depth, UnaryExpr{UnaryExpr::Op::logical_not, std::move(operand)});
}

ExprPtr ExpressionParser::parse_compare() {
  const int line = current().line;
  ExprPtr first = parse_sum();
  int depth = depth_of(first);
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
  while (true) {
    std::optional<CompareOp> op = comparison(current());
    if (op) {
      take();
    } else if (skip_name("in")) {
      op = CompareOp::in;
    } else if (current().is_name("not") && ahead().is_name("in")) {
      take();
      take();
      op = CompareOp::not_in;
    } else {
      break;
    }
    rest.emplace_back(*op, parse_sum());
    depth = std::max(depth, depth_of(rest.back().second));
  }
  if (rest.empty()) return first;
  return make(line, depth, CompareExpr{std::move(first), std::move(rest)});
}

ExprPtr ExpressionParser::parse_sum() {
  ExprPtr left = parse_concat();
  while (current().is_op("+") || current().is_op("-")) {
    const Token token = take();
    ExprPtr right = parse_concat();
    const int depth = std::max(depth_of(left), depth_of(right));
    const BinaryOp op = token.text == "+" ? BinaryOp::add : BinaryOp::subtract;
    left = make(token.line, depth, BinaryExpr{op, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  const int line = current().line;
  ExprPtr first = parse_product();
  if (!current().is_op("~")) return first;
  int depth = depth_of(first);
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(first));
  while (skip_op("~")) {
    parts.push_back(parse_product());
    depth = std::max(depth, depth_of(parts.back()));
  }
  return make(line, depth, ConcatExpr{std::move(parts)});
}

ExprPtr ExpressionParser::parse_product() {
  static constexpr std::pair<std::string_view, BinaryOp> kOperators[] = {
      {"*", BinaryOp::multiply}, {"/", BinaryOp::divide}, {"//", BinaryOp::floor_divide}, {"%", BinaryOp::modulo}};
  ExprPtr left = parse_power();
  while (true) {
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](const auto& entry) { return current().is_op(entry.first); });
    if (found == std::end(kOperators)) return left;
    const int line = take().line;
    ExprPtr right = parse_power();
    const int depth = std::max(depth_of(left), depth_of(right));
    left = make(line, depth, BinaryExpr{found->second, std::move(left), std::move(right)});
  }
}

// Unlike Python's, this ** binds to the left.
ExprPtr ExpressionParser::parse_power() {
  ExprPtr left = parse_unary();
  while (current().is_op("**")) {
    const int line = take().line;
    ExprPtr right = parse_unary();
    const int depth = std::max(depth_of(left), depth_of(right));
    left = make(line, depth, BinaryExpr{BinaryOp::power, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nesting nesting(*this);
  ExprPtr node;
  if (current().is_op("-") || current().is_op("+")) {
    const Token token = take();
    ExprPtr operand = parse_unary(false);
    const int depth = depth_of(operand);
    const auto op = token.text == "-" ? UnaryExpr::Op::minus : UnaryExpr::Op::plus;
    node = make(token.line, depth, UnaryExpr{op, std::move(operand)});
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filters ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

ExprPtr ExpressionParser::parse_primary() {
  const Token& token = current();
  const int line = token.line;
  switch (token.kind) {
    case Token::Kind::name:
      return parse_name();
    case Token::Kind::integer:
      return make(line, 0, ConstantExpr{take().integer});
    case Token::Kind::real:
      return make(line, 0, ConstantExpr{take().real});
    case Token::Kind::string: {
      std::string joined;
      while (current().kind == Token::Kind::string) joined += take().text;
      return make(line, 0, ConstantExpr{Text::of_template(std::move(joined))});
    }
    default:
      break;
  }
  if (skip_op("(")) {
    ExprPtr inner = parse_tuple(true, true);
    expect_op(")");
    return inner;
  }
  if (token.is_op("[")) return parse_list();
  if (token.is_op("{")) return parse_dict();
  fail_unexpected("an expression");
}

ExprPtr ExpressionParser::parse_name() {
  const Token token = take();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return make(token.line, 0, ConstantExpr{true});
  if (name == "false" || name == "False") return make(token.line, 0, ConstantExpr{false});
  if (name == "none" || name == "None") return make(token.line, 0, ConstantExpr{});
  for (MacroDef* macro : open_macros_) {
    if (name == "varargs") macro->uses_varargs = true;
    if (name == "kwargs") macro->uses_kwargs = true;
    if (name == "caller") macro->uses_caller = true;
  }
  return make(token.line, 0, NameExpr{name});
}

bool ExpressionParser::at_tuple_end() const {
  return current().kind == Token::Kind::variable_end || current().kind == Token::Kind::block_end ||
         current().is_op(")");
}

ExprPtr ExpressionParser::parse_tuple(bool conditional, bool in_parentheses) {
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool tuple = false;
  int depth = 0;
  while (!at_tuple_end()) {
    items.push_back(parse_expression(conditional));
    depth = std::max(depth, depth_of(items.back()));
    if (!skip_op(",")) break;
    tuple = true;
  }
  if (!tuple && !items.empty()) return std::move(items.front());
  if (!tuple && !in_parentheses) fail_unexpected("an expression");
  return make(line, depth, ListExpr{std::move(items), true});
}

ExprPtr ExpressionParser::parse_list() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  int depth = 0;
  while (!current().is_op("]")) {
    if (!items.empty()) expect_op(",");
    if (current().is_op("]")) break;
    items.push_back(parse_expression());
    depth = std::max(depth, depth_of(items.back()));
  }
  expect_op("]");
  return make(line, depth, ListExpr{std::move(items), false});
}

ExprPtr ExpressionParser::parse_dict() {
  const int line = take().line;
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
  int depth = 0;
  while (!current().is_op("}")) {
    if (!entries.empty()) expect_op(",");
    if (current().is_op("}")) break;
    ExprPtr key = parse_expression();
    expect_op(":");
    ExprPtr value = parse_expression();
    depth = std::max({depth, depth_of(key), depth_of(value)});
    entries.emplace_back(std::move(key), std::move(value));
  }
  expect_op("}");
  return make(line, depth, DictExpr{std::move(entries)});
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr object) {
  while (true) {
    const int line = current().line;
    const int depth = depth_of(object);
    if (skip_op(".")) {
      if (current().kind == Token::Kind::integer) {
        ExprPtr index = make(line, 0, ConstantExpr{take().integer});
        object = make(line, depth, ItemExpr{std::move(object), std::move(index)});
      } else {
        object = make(line, depth, AttributeExpr{std::move(object), take_name()});
      }
    } else if (skip_op("[")) {
      object = parse_subscript(std::move(object));
    } else if (current().is_op("(")) {
      object = parse_call(std::move(object));
    } else {
      return object;
    }
  }
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr object) {
  const int line = current().line;
  const auto bound = [&]() -> ExprPtr {
    return current().is_op(":") || current().is_op("]") ? nullptr : parse_expression();
  };
  ExprPtr start = current().is_op(":") ? nullptr : parse_expression();
  if (skip_op(":")) {
    ExprPtr stop = bound();
    ExprPtr step = skip_op(":") ? bound() : nullptr;
    expect_op("]");
    const int depth = std::max({depth_of(object), depth_of(start), depth_of(stop), depth_of(step)});
    return make(line, depth, SliceExpr{std::move(object), std::move(start), std::move(stop), std::move(step)});
  }
  expect_op("]");
  const int depth = std::max(depth_of(object), depth_of(start));
  return make(line, depth, ItemExpr{std::move(object), std::move(start)});
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr input) {
  while (true) {
    if (current().is_op("|")) {
      input = parse_filters(std::move(input));
    } else if (current().is_name("is")) {
      input = parse_test(std::move(input));
    } else if (current().is_op("(")) {
      input = parse_call(std::move(input));
    } else {
      return input;
    }
  }
}

ExprPtr ExpressionParser::parse_filters(ExprPtr input, bool inline_start) {
  while (inline_start || current().is_op("|")) {
    if (!inline_start) take();
    inline_start = false;
    const int line = current().line;
    std::string name = take_name();
    while (skip_op(".")) name += "." + take_name();
    CallArgs args;
    if (current().is_op("(")) args = parse_call_args();
    const int depth = std::max(depth_of(input), depth_of(args));
    input = make(line, depth, FilterExpr{std::move(input), std::move(name), std::move(args)});
  }
  return input;
}

ExprPtr ExpressionParser::parse_test(ExprPtr input) {
  const int line = take().line;
  const bool negated = skip_name("not");
  std::string name = take_name();
  while (skip_op(".")) name += "." + take_name();
  CallArgs args;
  const Token& next = current();
  const bool starts_operand = next.kind == Token::Kind::name || next.kind == Token::Kind::string ||
                              next.kind == Token::Kind::integer || next.kind == Token::Kind::real || next.is_op("[") ||
                              next.is_op("{");
  if (next.is_op("(")) {
    args = parse_call_args();
  } else if (starts_operand && !next.is_name("else") && !next.is_name("or") && !next.is_name("and")) {
    if (next.is_name("is")) fail("You cannot chain multiple tests with is");
    args.positional.push_back(parse_postfix(parse_primary()));
  }
  int depth = std::max(depth_of(input), depth_of(args));
  ExprPtr test = make(line, depth, TestExpr{std::move(input), std::move(name), std::move(args)});
  if (!negated) return test;
  depth = depth_of(test);
  return make(line, depth, UnaryExpr{UnaryExpr::Op::logical_not, std::move(test)});
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  const int line = current().line;
  CallArgs args = parse_call_args();
  const int depth = std::max(depth_of(callee), depth_of(args));
  return make(line, depth, CallExpr{std::move(callee), std::move(args)});
}

CallArgs ExpressionParser::parse_call_args() {
  expect_op("(");
  CallArgs args;
  bool first = true;
  const auto ensure = [&](bool valid) {
    if (!valid) fail("invalid order of arguments in a call");
  };
  while (!current().is_op(")")) {
    if (!first) expect_op(",");
    if (!first && current().is_op(")")) break;
    first = false;
    if (skip_op("*")) {
      ensure(!args.star && !args.star_star);
      args.star = parse_expression();
    } else if (skip_op("**")) {
      ensure(!args.star_star);
      args.star_star = parse_expression();
    } else if (current().kind == Token::Kind::name && ahead().is_op("=")) {
      ensure(!args.star_star);
      std::string name = take_name();
      take();
      for (const auto& [other, value] : args.named) {
        if (other == name) fail("the argument " + name + " is given twice");
      }
      args.named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(!args.star && !args.star_star && args.named.empty());
      args.positional.push_back(parse_expression());
    }
  }
  expect_op(")");
  return args;
}

}  // namespace strata::jinja
