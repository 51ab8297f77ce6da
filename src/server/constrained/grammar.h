// What an answer may look like: values, and the shapes that each of them may take.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/constrained/byte_trie.h"
#include "server/constrained/number_range.h"
#include "server/constrained/string_shape.h"

namespace strata {

/// Places in Grammar::values and Grammar::shapes.
using ValueId = std::uint32_t;
using ShapeId = std::uint32_t;
inline constexpr ValueId kNoValue = UINT32_MAX;

/// Containers within containers, which also ends what is recursive.
inline constexpr int kMaxNesting = 64;
/// Spaces after a line end, where JSON allows any blanks.
inline constexpr int kMaxIndent = 20;
/// Line ends before a whole answer.
inline constexpr int kMaxLeadingLineEnds = 4;

/// One of some texts, spelled out: literals of an enum, true, false, null.
struct TextShape {
  std::vector<std::string> words;  // until Grammar::finish()
  ByteTrie trie;
};

/// Keys in one order, of which some are required. What may come at place i is any key from i to the next required one.
struct KeyOrder {
  std::vector<ValueId> values;  // a key's number is its place here
  std::vector<std::uint32_t>
      next_required;  // at place i the first j >= i that is required, or size(); one more than keys
  std::uint32_t size() const { return static_cast<std::uint32_t>(values.size()); }
};

/// {"key": value, ...}
struct ObjectShape {
  KeyOrder order;
  ByteTrie keys;                  // as written after the opening quote, with the closing one
  ValueId additional = kNoValue;  // of other keys, which come last
  ShapeId additional_key = 0;     // a StringShape that excludes the declared keys
};

/// [value, ...]
struct ArrayShape {
  static constexpr std::uint32_t kUnlimited = UINT32_MAX;
  std::vector<ValueId> prefix;  // the first elements
  ValueId items = kNoValue;     // the others
  std::uint32_t min = 0, max = kUnlimited;
};

/// A value, and then a text that ends it.
struct EndedShape {
  ValueId value;
  ShapeId end;  // a TextShape
};

/// The arguments of a tool call: the text of each key, its value, and at last the text numbered order.size().
struct FieldsShape {
  KeyOrder order;
  ByteTrie texts;
};

/// A text that decides what follows it.
struct SwitchShape {
  ByteTrie texts;
  std::vector<ShapeId> next;  // by the text's number
};

using Shape = std::variant<TextShape, StringShape, NumberRange, ObjectShape, ArrayShape, RawTextShape, EndedShape,
                           FieldsShape, SwitchShape>;

/// What may stand somewhere: one of some shapes.
struct Value {
  std::vector<ShapeId> shapes;
  std::vector<ValueId> same_as;  // and all shapes of these; none after Grammar::finish()
  int height = 0;                // containers in the flattest text of it, kNoHeight if it has none
};

/// A grammar over bytes. Built by adding, closed by finish(), then immutable and shared.
struct Grammar {
  static constexpr int kNoHeight = std::numeric_limits<int>::max();
  /// Shapes that all values may have together once references are followed.
  static constexpr std::size_t kMaxAlternatives = 1 << 20;

  std::vector<Shape> shapes;
  std::vector<Value> values;
  ValueId root = kNoValue;
  bool leading_blanks = true;

  ShapeId add(Shape shape);
  ValueId add_value(std::vector<ShapeId> of = {});
  /// The shapes of a value with those that it refers to, each once. False if they would be more than kMaxAlternatives.
  bool collect(ValueId value, std::vector<ShapeId>& out) const;
  /// Follows references, builds tries, finds heights. False if there are too many alternatives.
  bool finish();
  /// Whether anything is of this grammar, as far as kMaxNesting reaches.
  bool has_texts() const { return fits(root, 0); }

  /// Whether some text of `value`, or of a shape, fits inside `depth` containers.
  bool fits(ValueId value, int depth) const { return height_fits(values[value].height, depth); }
  bool shape_fits(ShapeId shape, int depth) const { return height_fits(shape_heights_[shape], depth); }

 private:
  static bool height_fits(int height, int depth) { return height <= kMaxNesting && height + depth <= kMaxNesting; }
  void merge_texts(Value& value);
  void find_heights();
  int height_of(const Shape& shape) const;

  std::vector<int> shape_heights_;
};

/// The order of keys, of which required[i] is required.
KeyOrder key_order(std::vector<ValueId> values, const std::vector<bool>& required);

}  // namespace strata
