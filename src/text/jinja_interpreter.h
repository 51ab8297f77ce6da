// Runs a parsed Jinja template.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"

namespace strata::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

/// Variables of a block. A name that is not here is looked up in the scopes around it.
struct Scope {
  Scope* outer = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

/// A macro and the scope that it was defined in.
struct Macro {
  const MacroDef* definition;
  Scope* scope;
};

/// One rendering of one template.
class Interpreter {
 public:
  /// The output of `block`, with `variables` as its context; both must outlive the interpreter.
  /// Throws Failure, with the line, for what the template or its data does wrong.
  Text render(const Block& block, const Variables& variables);

 private:
  enum class Flow { next, break_loop, continue_loop };
  class ScopeGuard;
  class Capture;

  Flow run(const Block& block, Scope& scope);
  Flow run(const Stmt& statement, Scope& scope);
  Flow exec(const DataStmt& statement, Scope& scope);
  Flow exec(const PrintStmt& statement, Scope& scope);
  Flow exec(const SetStmt& statement, Scope& scope);
  Flow exec(const SetBlockStmt& statement, Scope& scope);
  Flow exec(const IfStmt& statement, Scope& scope);
  Flow exec(const ForStmt& statement, Scope& scope);
  Flow exec(const LoopControlStmt& statement, Scope& scope);
  Flow exec(const MacroStmt& statement, Scope& scope);
  Flow exec(const CallBlockStmt& statement, Scope& scope);
  Flow exec(const FilterBlockStmt& statement, Scope& scope);
  Flow exec(const WithStmt& statement, Scope& scope);
  Flow exec(const GenerationStmt& statement, Scope& scope);

  Value eval(const Expr& expr, Scope& scope);
  Value eval_node(const ConstantExpr& expr, Scope& scope);
  Value eval_node(const NameExpr& expr, Scope& scope);
  Value eval_node(const ListExpr& expr, Scope& scope);
  Value eval_node(const DictExpr& expr, Scope& scope);
  Value eval_node(const AttributeExpr& expr, Scope& scope);
  Value eval_node(const ItemExpr& expr, Scope& scope);
  Value eval_node(const SliceExpr& expr, Scope& scope);
  Value eval_node(const CallExpr& expr, Scope& scope);
  Value eval_node(const FilterExpr& expr, Scope& scope);
  Value eval_node(const TestExpr& expr, Scope& scope);
  Value eval_node(const UnaryExpr& expr, Scope& scope);
  Value eval_node(const BinaryExpr& expr, Scope& scope);
  Value eval_node(const ConcatExpr& expr, Scope& scope);
  Value eval_node(const LogicExpr& expr, Scope& scope);
  Value eval_node(const CompareExpr& expr, Scope& scope);
  Value eval_node(const ConditionalExpr& expr, Scope& scope);

  Call eval_args(const CallArgs& args, Scope& scope);
  Value call(const Value& callee, Call arguments);
  Value call_macro(const Macro& macro, Call arguments);
  void bind_parameters(const MacroDef& macro, Call& arguments, Scope& scope);
  Value make_namespace(const Call& arguments);
  Value make_macro(const MacroDef& definition, Scope& scope);
  void assign(const Target& target, const Value& value, Scope& scope);
  void emit(const Text& text);

  Budget budget_;
  Text* out_ = nullptr;
  Value filter_block_;        // the text that a filter without input applies to
  std::deque<Scope> scopes_;  // of the blocks that are open, and those that a macro still sees
  std::deque<Macro> macros_;
  std::deque<Namespace> namespaces_;
};

}  // namespace strata::jinja
