// The syntax tree of a Jinja template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_value.h"

namespace strata::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
struct Stmt;
using Block = std::vector<Stmt>;

struct CallArgs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;  // *args and **kwargs, or null
};

struct ConstantExpr {
  Value value;
};
struct NameExpr {
  std::string name;
};
struct ListExpr {
  std::vector<ExprPtr> items;
  bool tuple;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
struct AttributeExpr {
  ExprPtr object;
  std::string name;
};
struct ItemExpr {
  ExprPtr object, index;
};
struct SliceExpr {
  ExprPtr object, start, stop, step;  // the bounds are null where left out
};
struct CallExpr {
  ExprPtr callee;
  CallArgs args;
};
struct FilterExpr {
  ExprPtr input;  // null in a filter block: the block's text
  std::string name;
  CallArgs args;
};
struct TestExpr {
  ExprPtr input;
  std::string name;
  CallArgs args;
};
struct UnaryExpr {
  enum class Op { minus, plus, logical_not } op;
  ExprPtr operand;
};
enum class BinaryOp { add, subtract, multiply, divide, floor_divide, modulo, power };
struct BinaryExpr {
  BinaryOp op;
  ExprPtr left, right;
};
struct ConcatExpr {  // a ~ b ~ c
  std::vector<ExprPtr> parts;
};
struct LogicExpr {
  bool is_and;
  ExprPtr left, right;
};
enum class CompareOp { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };
struct CompareExpr {  // a < b <= c, as Python chains it
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct ConditionalExpr {
  ExprPtr condition, then, otherwise;  // no else: undefined
};

struct Expr {
  int line;
  int depth;  // of the tree below, which the parser bounds
  std::variant<ConstantExpr, NameExpr, ListExpr, DictExpr, AttributeExpr, ItemExpr, SliceExpr, CallExpr, FilterExpr,
               TestExpr, UnaryExpr, BinaryExpr, ConcatExpr, LogicExpr, CompareExpr, ConditionalExpr>
      node;
};

/// What set, for and with assign to: a name, a namespace's attribute, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;        // empty: the name itself
  std::vector<Target> members;  // of a tuple; then the name is empty
  bool tuple = false;
};

struct Parameter {
  std::string name;
  ExprPtr fallback;  // null if it has none
};
/// A macro, or the body of a call block.
struct MacroDef {
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct DataStmt {
  Value text;
};
struct PrintStmt {
  ExprPtr value;
};
struct SetStmt {
  Target target;
  ExprPtr value;
};
struct SetBlockStmt {
  Target target;
  ExprPtr filter;  // null, or filters that end in one without input
  Block body;
};
struct IfStmt {
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
};
struct ForStmt {
  Target target;
  ExprPtr items;
  ExprPtr condition;  // of `for x in xs if condition`, or null
  Block body, otherwise;
  bool recursive = false;
};
struct LoopControlStmt {
  bool is_break;
};
struct MacroStmt {
  std::shared_ptr<const MacroDef> macro;
};
struct CallBlockStmt {
  ExprPtr call;
  std::shared_ptr<const MacroDef> caller;
};
struct FilterBlockStmt {
  ExprPtr filter;
  Block body;
};
struct WithStmt {
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Block body;
};
/// transformers' {% generation %}, which marks what the assistant wrote; it has a scope of its own.
struct GenerationStmt {
  Block body;
};

struct Stmt {
  int line;
  std::variant<DataStmt, PrintStmt, SetStmt, SetBlockStmt, IfStmt, ForStmt, LoopControlStmt, MacroStmt, CallBlockStmt,
               FilterBlockStmt, WithStmt, GenerationStmt>
      node;
};

}  // namespace strata::jinja
