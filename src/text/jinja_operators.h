// Operators, attributes, items and slices of the Jinja interpreter.
#pragma once

#include <string>

#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace strata::jinja {

/// a op b with Python's meaning; integers beyond 64 bits are a Failure.
Value binary(BinaryOp op, const Value& a, const Value& b);
/// -value or +value.
Value signed_value(const Value& value, bool minus);
bool compare_values(CompareOp op, const Value& a, const Value& b);

/// jinja2's sandboxed getattr: a method or attribute of the value's type, else an item of this name, else undefined.
/// Methods that change lists or dicts are undefined, but list.pop and list.clear, which jinja2 3.1.2 lets through.
Value get_attribute(const Value& object, const std::string& name);
/// jinja2's getitem: an item, else an attribute of this name, else undefined.
Value get_item(const Value& object, const Value& index);
/// object[start:stop:step]; None stands for a bound left out.
Value get_slice(const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace strata::jinja
