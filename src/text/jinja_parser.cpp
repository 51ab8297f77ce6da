// The parser of statements.
#include "text/jinja_parser.h"

#include <algorithm>
#include <initializer_list>

#include "text/jinja_expression_parser.h"

namespace strata::jinja {
namespace {

class Parser : ExpressionParser {
 public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}

  Block run() {
    Block block = parse_block({});
    if (current().kind != Token::Kind::end) fail_unexpected("the end of the template");
    return block;
  }

 private:
  using Ends = std::initializer_list<std::string_view>;

  // Statements up to a tag named by `ends`, whose name is then the current token; up to the end of the source if
  // there are none.
  Block parse_block(Ends ends) {
    const Nesting nesting(*this);
    Block block;
    while (current().kind != Token::Kind::end) {
      const int line = current().line;
      if (current().kind == Token::Kind::data) {
        block.push_back({line, DataStmt{Text::of_template(take().text)}});
      } else if (current().kind == Token::Kind::variable_begin) {
        take();
        block.push_back({line, PrintStmt{parse_tuple()}});
        expect(Token::Kind::variable_end, "'}}'");
      } else {
        expect(Token::Kind::block_begin, "a tag");
        if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return current().is_name(end); }))
          return block;
        parse_statement(block);
        expect(Token::Kind::block_end, "'%}'");
      }
    }
    if (ends.size() > 0) fail("the template ends before {% " + std::string(*(ends.end() - 1)) + " %}");
    return block;
  }

  // The rest of a tag, what it encloses, and the name of the tag that ends it.
  Block parse_body(std::string_view end) {
    Block block = parse_inner({end});
    take();
    return block;
  }
  Block parse_inner(Ends ends) {
    skip_op(":");
    expect(Token::Kind::block_end, "'%}'");
    return parse_block(ends);
  }

  void parse_statement(Block& block) {
    const int line = current().line;
    if (current().kind != Token::Kind::name) fail_unexpected("a tag name");
    const std::string tag = take().text;
    const auto add = [&](auto node) { block.push_back({line, std::move(node)}); };
    if (tag == "if") return add(parse_if());
    if (tag == "for") return add(parse_for());
    if (tag == "set") return parse_set(block, line);
    if (tag == "macro") return add(parse_macro());
    if (tag == "call") return add(parse_call_block());
    if (tag == "with") return add(parse_with());
    if (tag == "print") {
      do add(PrintStmt{parse_expression()});
      while (skip_op(","));
      return;
    }
    if (tag == "generation") return add(GenerationStmt{parse_body("endgeneration")});
    if (tag == "filter") {
      ExprPtr filter = parse_filters(nullptr, true);
      return add(FilterBlockStmt{std::move(filter), parse_body("endfilter")});
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) fail("{% " + tag + " %} outside of a loop");
      return add(LoopControlStmt{tag == "break"});
    }
    fail("unknown or unsupported tag '" + tag + "'");
  }

  IfStmt parse_if() {
    IfStmt statement;
    while (true) {
      ExprPtr condition = parse_tuple(false);
      Block body = parse_inner({"elif", "else", "endif"});
      statement.branches.emplace_back(std::move(condition), std::move(body));
      if (skip_name("elif")) continue;
      if (skip_name("else")) {
        statement.otherwise = parse_body("endif");
      } else {
        expect_name("endif");
      }
      return statement;
    }
  }

  ForStmt parse_for() {
    ForStmt statement;
    statement.target = parse_target();
    if (assigns(statement.target, "loop")) fail("can't assign to the special variable loop");
    expect_name("in");
    statement.items = parse_tuple(false);
    if (skip_name("if")) statement.condition = parse_expression();
    statement.recursive = skip_name("recursive");
    if (statement.recursive) fail("recursive loops are not supported");
    ++loops_;
    statement.body = parse_inner({"else", "endfor"});
    --loops_;
    if (skip_name("else")) {
      statement.otherwise = parse_body("endfor");
    } else {
      expect_name("endfor");
    }
    return statement;
  }

  static bool assigns(const Target& target, std::string_view name) {
    return target.name == name || std::any_of(target.members.begin(), target.members.end(),
                                              [&](const Target& member) { return assigns(member, name); });
  }

  Target parse_target_name() {
    static constexpr std::string_view kReserved[] = {"true", "false", "none", "True", "False", "None"};
    Target target;
    target.name = take_name();
    for (const std::string_view name : kReserved) {
      if (target.name == name) fail("can't assign to '" + target.name + "'");
    }
    return target;
  }

  // A name, or several with commas, also in parentheses.
  Target parse_target() {
    const Nesting nesting(*this);
    Target tuple;
    tuple.tuple = true;
    bool commas = false;
    while (true) {
      if (skip_op("(")) {
        tuple.members.push_back(parse_target());
        expect_op(")");
      } else {
        tuple.members.push_back(parse_target_name());
      }
      if (!skip_op(",")) break;
      commas = true;
      if (current().is_name("in") || current().is_op("=") || current().is_op(")")) break;
    }
    if (commas) return tuple;
    Target only = std::move(tuple.members.front());
    return only;
  }

  void parse_set(Block& block, int line) {
    Target target;
    if (ahead().is_op(".")) {
      target.name = take_name();
      take();
      target.attribute = take_name();
    } else {
      target = parse_target();
    }
    if (skip_op("=")) {
      block.push_back({line, SetStmt{std::move(target), parse_tuple()}});
    } else {
      ExprPtr filter = parse_filters(nullptr);
      block.push_back({line, SetBlockStmt{std::move(target), std::move(filter), parse_body("endset")}});
    }
  }

  void parse_signature(MacroDef& macro) {
    expect_op("(");
    while (!current().is_op(")")) {
      if (!macro.parameters.empty()) expect_op(",");
      Parameter parameter;
      parameter.name = parse_target_name().name;
      if (skip_op("=")) {
        parameter.fallback = parse_expression();
      } else if (!macro.parameters.empty() && macro.parameters.back().fallback) {
        fail("a parameter without default follows one with a default");
      }
      macro.parameters.push_back(std::move(parameter));
    }
    take();
  }

  void parse_macro_body(MacroDef& macro, std::string_view end) {
    open_macros_.push_back(&macro);
    const int loops = std::exchange(loops_, 0);
    macro.body = parse_body(end);
    loops_ = loops;
    open_macros_.pop_back();
  }

  MacroStmt parse_macro() {
    auto macro = std::make_shared<MacroDef>();
    macro->name = parse_target_name().name;
    parse_signature(*macro);
    parse_macro_body(*macro, "endmacro");
    return {std::move(macro)};
  }

  CallBlockStmt parse_call_block() {
    auto macro = std::make_shared<MacroDef>();
    macro->name = "caller";
    if (current().is_op("(")) parse_signature(*macro);
    ExprPtr call = parse_expression();
    if (!std::holds_alternative<CallExpr>(call->node)) fail("expected a call");
    parse_macro_body(*macro, "endcall");
    return {std::move(call), std::move(macro)};
  }

  WithStmt parse_with() {
    WithStmt statement;
    while (current().kind != Token::Kind::block_end) {
      if (!statement.assignments.empty()) expect_op(",");
      Target target = parse_target();
      expect_op("=");
      statement.assignments.emplace_back(std::move(target), parse_expression());
    }
    statement.body = parse_body("endwith");
    return statement;
  }

  int loops_ = 0;  // open in this macro
};

}  // namespace

Block parse(std::string_view source) { return Parser(tokenize(source)).run(); }

}  // namespace strata::jinja
