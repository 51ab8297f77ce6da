// The interpreter: expressions.
#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_operators.h"

namespace strata::jinja {

Value Interpreter::eval(const Expr& expr, Scope& scope) {
  try {
    const Budget::Level level(budget_);
    budget_.charge(1);
    return std::visit([&](const auto& node) { return eval_node(node, scope); }, expr.node);
  } catch (Failure& failure) {
    if (failure.line == 0) failure.line = expr.line;
    throw;
  }
}

Value Interpreter::eval_node(const ConstantExpr& expr, Scope&) { return expr.value; }

Value Interpreter::eval_node(const NameExpr& expr, Scope& scope) {
  if (const Value* value = scope.find(expr.name)) return *value;
  if (!is_function(expr.name)) return Value::undefined("'" + expr.name + "' is undefined");
  auto callable = std::make_shared<Callable>();
  callable->name = expr.name;
  return CallableRef(std::move(callable));
}

Value Interpreter::eval_node(const ListExpr& expr, Scope& scope) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const ExprPtr& item : expr.items) items.push_back(eval(*item, scope));
  return Sequence::make(expr.tuple ? Sequence::Kind::tuple : Sequence::Kind::list, std::move(items));
}

Value Interpreter::eval_node(const DictExpr& expr, Scope& scope) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, value] : expr.entries) {
    Value name = eval(*key, scope);
    dict->set(std::move(name), eval(*value, scope));
  }
  return DictRef(std::move(dict));
}

Value Interpreter::eval_node(const AttributeExpr& expr, Scope& scope) {
  return get_attribute(eval(*expr.object, scope), expr.name);
}

Value Interpreter::eval_node(const ItemExpr& expr, Scope& scope) {
  const Value object = eval(*expr.object, scope);
  return get_item(object, eval(*expr.index, scope));
}

Value Interpreter::eval_node(const SliceExpr& expr, Scope& scope) {
  const Value object = eval(*expr.object, scope);
  const auto bound = [&](const ExprPtr& part) { return part ? eval(*part, scope) : Value(); };
  const Value start = bound(expr.start), stop = bound(expr.stop), step = bound(expr.step);
  Value result = get_slice(object, start, stop, step);
  budget_.charge_for(result);
  return result;
}

Call Interpreter::eval_args(const CallArgs& args, Scope& scope) {
  Call call;
  for (const ExprPtr& arg : args.positional) call.args.push_back(eval(*arg, scope));
  for (const auto& [name, arg] : args.named) call.named.emplace_back(name, eval(*arg, scope));
  if (args.star) {
    for (Value& item : iterate(budget_, eval(*args.star, scope))) call.args.push_back(std::move(item));
  }
  if (args.star_star) {
    const Value rest = eval(*args.star_star, scope);
    if (rest.dict() == nullptr) throw Failure("argument after ** must be a mapping, not " + type_name(rest));
    for (const Dict::Entry& entry : rest.dict()->entries) {
      if (entry.key.text() == nullptr) throw Failure("keywords must be strings");
      const std::string& name = entry.key.text()->bytes();
      if (std::any_of(call.named.begin(), call.named.end(), [&](const auto& other) { return other.first == name; }))
        throw Failure("got multiple values for keyword argument '" + name + "'");
      budget_.charge(static_cast<std::int64_t>(call.named.size()));
      call.named.emplace_back(name, entry.value);
    }
  }
  return call;
}

Value Interpreter::eval_node(const CallExpr& expr, Scope& scope) {
  const Value callee = eval(*expr.callee, scope);
  return call(callee, eval_args(expr.args, scope));
}

Value Interpreter::eval_node(const FilterExpr& expr, Scope& scope) {
  const Value input = expr.input ? eval(*expr.input, scope) : std::exchange(filter_block_, {});
  return apply_filter(budget_, expr.name, input, eval_args(expr.args, scope));
}

Value Interpreter::eval_node(const TestExpr& expr, Scope& scope) {
  const Value input = eval(*expr.input, scope);
  return apply_test(budget_, expr.name, input, eval_args(expr.args, scope));
}

Value Interpreter::eval_node(const UnaryExpr& expr, Scope& scope) {
  const Value operand = eval(*expr.operand, scope);
  if (expr.op == UnaryExpr::Op::logical_not) return !truthy(operand);
  return signed_value(operand, expr.op == UnaryExpr::Op::minus);
}

Value Interpreter::eval_node(const BinaryExpr& expr, Scope& scope) {
  const Value left = eval(*expr.left, scope);
  Value result = binary(expr.op, left, eval(*expr.right, scope));
  budget_.charge_for(result);
  return result;
}

Value Interpreter::eval_node(const ConcatExpr& expr, Scope& scope) {
  Text out;
  for (const ExprPtr& part : expr.parts) out.append(to_text(eval(*part, scope)));
  Value result = std::move(out);
  budget_.charge_for(result);
  return result;
}

Value Interpreter::eval_node(const LogicExpr& expr, Scope& scope) {
  Value left = eval(*expr.left, scope);
  return truthy(left) == expr.is_and ? eval(*expr.right, scope) : left;
}

Value Interpreter::eval_node(const CompareExpr& expr, Scope& scope) {
  Value left = eval(*expr.first, scope);
  for (const auto& [op, operand] : expr.rest) {
    Value right = eval(*operand, scope);
    if (!compare_values(op, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::eval_node(const ConditionalExpr& expr, Scope& scope) {
  if (truthy(eval(*expr.condition, scope))) return eval(*expr.then, scope);
  if (expr.otherwise) return eval(*expr.otherwise, scope);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined.");
}

}  // namespace strata::jinja
