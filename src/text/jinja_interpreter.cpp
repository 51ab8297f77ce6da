// The interpreter: statements, macros, scopes.
#include "text/jinja_interpreter.h"

#include <algorithm>

#include "text/jinja_operators.h"

namespace strata::jinja {
namespace {

constexpr std::int64_t kScopeCost = 8;

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
    for (const auto& [key, value] : scope->variables) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [key, old] : variables) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

// A scope for as long as this lives. If a macro was defined below it the scope stays, since the macro may be called
// later: it is then no longer the last one, or the macro's definition is newer than it.
class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& interpreter, Scope* outer)
      : interpreter_(interpreter), macros_(interpreter.macros_.size()), position_(interpreter.scopes_.size()) {
    interpreter.budget_.charge(kScopeCost);
    interpreter.scopes_.push_back({outer, {}});
    scope_ = &interpreter.scopes_.back();
  }
  ~ScopeGuard() {
    if (interpreter_.macros_.size() == macros_ && interpreter_.scopes_.size() == position_ + 1)
      interpreter_.scopes_.pop_back();
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;
  Scope& operator*() const { return *scope_; }

 private:
  Interpreter& interpreter_;
  std::size_t macros_, position_;
  Scope* scope_;
};

// Sends what is printed into `text` for as long as this lives.
class Interpreter::Capture {
 public:
  explicit Capture(Interpreter& interpreter) : interpreter_(interpreter), before_(interpreter.out_) {
    interpreter.out_ = &text;
  }
  ~Capture() { interpreter_.out_ = before_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  Text text;

 private:
  Interpreter& interpreter_;
  Text* before_;
};

Text Interpreter::render(const Block& block, const Variables& variables) {
  Capture capture(*this);
  const ScopeGuard context(*this, nullptr), top(*this, &*context);
  for (const auto& [name, value] : variables) (*context).set(name, value);
  run(block, *top);
  return std::move(capture.text);
}

void Interpreter::emit(const Text& text) {
  budget_.charge(static_cast<std::int64_t>(text.size() / 16));
  out_->append(text);
}

Interpreter::Flow Interpreter::run(const Block& block, Scope& scope) {
  for (const Stmt& statement : block) {
    if (const Flow flow = run(statement, scope); flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const Stmt& statement, Scope& scope) {
  try {
    const Budget::Level level(budget_);
    budget_.charge(1);
    return std::visit([&](const auto& node) { return exec(node, scope); }, statement.node);
  } catch (Failure& failure) {
    if (failure.line == 0) failure.line = statement.line;
    throw;
  }
}

Interpreter::Flow Interpreter::exec(const DataStmt& statement, Scope&) {
  emit(*statement.text.text());
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const PrintStmt& statement, Scope& scope) {
  emit(to_text(eval(*statement.value, scope)));
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const SetStmt& statement, Scope& scope) {
  assign(statement.target, eval(*statement.value, scope), scope);
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const SetBlockStmt& statement, Scope& scope) {
  Capture capture(*this);
  const ScopeGuard inner(*this, &scope);
  if (const Flow flow = run(statement.body, *inner); flow != Flow::next) return flow;
  Value text = std::move(capture.text);
  if (statement.filter) {
    filter_block_ = std::move(text);
    text = eval(*statement.filter, *inner);
  }
  assign(statement.target, text, scope);
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const IfStmt& statement, Scope& scope) {
  for (const auto& [condition, body] : statement.branches) {
    if (truthy(eval(*condition, scope))) return run(body, scope);
  }
  return run(statement.otherwise, scope);
}

Interpreter::Flow Interpreter::exec(const ForStmt& statement, Scope& scope) {
  std::vector<Value> items = iterate(budget_, eval(*statement.items, scope));
  if (statement.condition) {
    std::vector<Value> kept;
    for (const Value& item : items) {
      const ScopeGuard inner(*this, &scope);
      assign(statement.target, item, *inner);
      if (truthy(eval(*statement.condition, *inner))) kept.push_back(item);
    }
    items = std::move(kept);
  }
  const auto loop = std::make_shared<Loop>();
  loop->items = Sequence::make(Sequence::Kind::list, std::move(items));
  for (; loop->index0 < loop->items->items.size(); ++loop->index0) {
    const ScopeGuard inner(*this, &scope);
    (*inner).set("loop", LoopRef(loop));
    assign(statement.target, loop->items->items[loop->index0], *inner);
    if (run(statement.body, *inner) == Flow::break_loop) break;
  }
  if (!loop->items->items.empty()) return Flow::next;
  const ScopeGuard inner(*this, &scope);
  return run(statement.otherwise, *inner);
}

Interpreter::Flow Interpreter::exec(const LoopControlStmt& statement, Scope&) {
  return statement.is_break ? Flow::break_loop : Flow::continue_loop;
}

Interpreter::Flow Interpreter::exec(const MacroStmt& statement, Scope& scope) {
  scope.set(statement.macro->name, make_macro(*statement.macro, scope));
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const CallBlockStmt& statement, Scope& scope) {
  const auto& node = std::get<CallExpr>(statement.call->node);
  const Value callee = eval(*node.callee, scope);
  Call arguments = eval_args(node.args, scope);
  arguments.named.emplace_back("caller", make_macro(*statement.caller, scope));
  emit(to_text(call(callee, std::move(arguments))));
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const FilterBlockStmt& statement, Scope& scope) {
  const ScopeGuard inner(*this, &scope);
  {
    Capture capture(*this);
    if (const Flow flow = run(statement.body, *inner); flow != Flow::next) return flow;
    filter_block_ = std::move(capture.text);
  }
  emit(to_text(eval(*statement.filter, *inner)));
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const WithStmt& statement, Scope& scope) {
  const ScopeGuard inner(*this, &scope);
  for (const auto& [target, value] : statement.assignments) assign(target, eval(*value, scope), *inner);
  return run(statement.body, *inner);
}

Interpreter::Flow Interpreter::exec(const GenerationStmt& statement, Scope& scope) {
  const ScopeGuard inner(*this, &scope);
  return run(statement.body, *inner);
}

void Interpreter::assign(const Target& target, const Value& value, Scope& scope) {
  if (!target.attribute.empty()) {
    const Value* object = scope.find(target.name);
    const auto* space = object != nullptr ? object->get<Namespace*>() : nullptr;
    if (space == nullptr) throw Failure("cannot assign attribute on non-namespace object");
    (*space)->set(target.attribute, value);
  } else if (!target.tuple) {
    scope.set(target.name, value);
  } else {
    const std::vector<Value> items = iterate(budget_, value);
    if (items.size() != target.members.size())
      throw Failure("expected " + std::to_string(target.members.size()) + " values to unpack, found " +
                    std::to_string(items.size()));
    for (std::size_t i = 0; i < items.size(); ++i) assign(target.members[i], items[i], scope);
  }
}

Value Interpreter::make_namespace(const Call& arguments) {
  budget_.charge(kScopeCost);
  const Value source = call_function(budget_, "dict", arguments);
  Namespace& space = namespaces_.emplace_back();
  for (const Dict::Entry& entry : source.dict()->entries) {
    if (entry.key.text() != nullptr) space.set(entry.key.text()->bytes(), entry.value);
  }
  return &space;
}

Value Interpreter::make_macro(const MacroDef& definition, Scope& scope) {
  budget_.charge(kScopeCost);
  macros_.push_back({&definition, &scope});
  auto callable = std::make_shared<Callable>();
  callable->name = definition.name;
  callable->macro = &macros_.back();
  callable->kind = Callable::Kind::macro;
  return CallableRef(std::move(callable));
}

Value Interpreter::call(const Value& callee, Call arguments) {
  require_defined(callee);
  const auto* callable = callee.get<CallableRef>();
  if (callable == nullptr) throw Failure("'" + type_name(callee) + "' object is not callable");
  const Callable& function = **callable;
  budget_.charge(kScopeCost);
  switch (function.kind) {
    case Callable::Kind::macro:
      return call_macro(*function.macro, std::move(arguments));
    case Callable::Kind::method: {
      Value result = call_method(budget_, function.self, function.name, arguments);
      budget_.charge_for(result);
      return result;
    }
    case Callable::Kind::function:
      if (function.name == "namespace") return make_namespace(arguments);
      return call_function(budget_, function.name, arguments);
  }
  return {};
}

Value Interpreter::call_macro(const Macro& macro, Call arguments) {
  const ScopeGuard scope(*this, macro.scope);
  bind_parameters(*macro.definition, arguments, *scope);
  Capture capture(*this);
  run(macro.definition->body, *scope);
  return std::move(capture.text);
}

void Interpreter::bind_parameters(const MacroDef& macro, Call& arguments, Scope& scope) {
  const auto take_named = [&](const std::string& name) -> std::optional<Value> {
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (found == arguments.named.end()) return std::nullopt;
    std::optional<Value> value(std::move(found->second));
    arguments.named.erase(found);
    return value;
  };
  bool has_caller_parameter = false;
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    has_caller_parameter |= parameter.name == "caller";
    std::optional<Value> value;
    if (i < arguments.args.size()) {
      value = arguments.args[i];
    } else {
      value = take_named(parameter.name);
    }
    if (!value && parameter.fallback) value = eval(*parameter.fallback, scope);
    scope.set(parameter.name,
              value ? *std::move(value) : Value::undefined("parameter '" + parameter.name + "' was not provided"));
  }
  if (macro.uses_caller && !has_caller_parameter)
    scope.set("caller", take_named("caller").value_or(Value::undefined("No caller defined")));
  if (macro.uses_kwargs) {
    auto rest = std::make_shared<Dict>();
    for (const auto& [name, value] : arguments.named) rest->set(Text::of_template(name), value);
    scope.set("kwargs", DictRef(std::move(rest)));
  } else if (!arguments.named.empty()) {
    throw Failure("macro '" + macro.name + "' takes no keyword argument '" + arguments.named.front().first + "'");
  }
  const std::size_t count = macro.parameters.size();
  if (macro.uses_varargs) {
    std::vector<Value> rest;
    for (std::size_t i = count; i < arguments.args.size(); ++i) rest.push_back(arguments.args[i]);
    scope.set("varargs", make_tuple(std::move(rest)));
  } else if (arguments.args.size() > count) {
    throw Failure("macro '" + macro.name + "' takes not more than " + std::to_string(count) + " argument(s)");
  }
}

}  // namespace strata::jinja
