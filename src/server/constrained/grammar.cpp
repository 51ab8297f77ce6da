#include "server/constrained/grammar.h"

#include <algorithm>
#include <cstddef>
#include <unordered_set>

namespace strata {

KeyOrder key_order(std::vector<ValueId> values, const std::vector<bool>& required) {
  KeyOrder order;
  order.next_required.assign(values.size() + 1, static_cast<std::uint32_t>(values.size()));
  for (std::size_t i = values.size(); i-- > 0;)
    order.next_required[i] = required[i] ? static_cast<std::uint32_t>(i) : order.next_required[i + 1];
  order.values = std::move(values);
  return order;
}

ShapeId Grammar::add(Shape shape) {
  shapes.push_back(std::move(shape));
  return static_cast<ShapeId>(shapes.size() - 1);
}

ValueId Grammar::add_value(std::vector<ShapeId> of) {
  Value value;
  value.shapes = std::move(of);
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

bool Grammar::collect(ValueId value, std::vector<ShapeId>& out) const {
  std::unordered_set<ValueId> seen_values = {value};
  std::unordered_set<ShapeId> seen_shapes(out.begin(), out.end());
  std::vector<ValueId> pending = {value};
  while (!pending.empty()) {
    const Value& next = values[pending.back()];
    pending.pop_back();
    for (const ShapeId shape : next.shapes)
      if (seen_shapes.insert(shape).second) out.push_back(shape);
    for (auto other = next.same_as.rbegin(); other != next.same_as.rend(); ++other)
      if (seen_values.insert(*other).second) pending.push_back(*other);
    if (out.size() > kMaxAlternatives || pending.size() > kMaxAlternatives) return false;
  }
  return true;
}

bool Grammar::finish() {
  std::size_t total = 0;
  std::vector<std::vector<ShapeId>> collected(values.size());
  for (ValueId value = 0; value < values.size(); ++value) {
    if (values[value].same_as.empty()) continue;
    if (!collect(value, collected[value])) return false;
    total += collected[value].size();
    if (total > kMaxAlternatives) return false;
  }
  for (ValueId value = 0; value < values.size(); ++value) {
    if (!values[value].same_as.empty()) values[value].shapes = std::move(collected[value]);
    values[value].same_as.clear();
    merge_texts(values[value]);
  }
  for (Shape& shape : shapes) {
    auto* text = std::get_if<TextShape>(&shape);
    if (text == nullptr) continue;
    std::vector<std::pair<std::string, std::int32_t>> words;
    words.reserve(text->words.size());
    for (std::string& word : text->words) words.emplace_back(std::move(word), 0);
    text->words.clear();
    text->trie = ByteTrie(std::move(words));
  }
  find_heights();
  return true;
}

// Alternatives that are texts become one, so that a thousand of them are followed as one stack.
void Grammar::merge_texts(Value& value) {
  const auto is_text = [&](ShapeId shape) { return std::holds_alternative<TextShape>(shapes[shape]); };
  if (std::count_if(value.shapes.begin(), value.shapes.end(), is_text) < 2) return;
  TextShape merged;
  for (const ShapeId shape : value.shapes) {
    if (!is_text(shape)) continue;
    const auto& words = std::get<TextShape>(shapes[shape]).words;
    merged.words.insert(merged.words.end(), words.begin(), words.end());
  }
  value.shapes.erase(std::remove_if(value.shapes.begin(), value.shapes.end(), is_text), value.shapes.end());
  value.shapes.push_back(add(std::move(merged)));
}

// Heights only fall from kNoHeight, and one that counts is at most kMaxNesting.
void Grammar::find_heights() {
  for (Value& value : values) value.height = kNoHeight;
  shape_heights_.assign(shapes.size(), kNoHeight);
  bool changed = true;
  for (int round = 0; changed && round <= kMaxNesting + 1; ++round) {
    changed = false;
    for (ShapeId shape = 0; shape < shapes.size(); ++shape) shape_heights_[shape] = height_of(shapes[shape]);
    for (Value& value : values) {
      int least = kNoHeight;
      for (const ShapeId shape : value.shapes) least = std::min(least, shape_heights_[shape]);
      changed |= least < value.height;
      value.height = std::min(value.height, least);
    }
  }
}

namespace {

int height_of_required(const Grammar& grammar, const KeyOrder& order) {
  int height = 0;
  for (std::uint32_t i = order.next_required[0]; i < order.size(); i = order.next_required[i + 1])
    height = std::max(height, grammar.values[order.values[i]].height);
  return height;
}

int one_more(int height) { return height == Grammar::kNoHeight ? height : height + 1; }

}  // namespace

int Grammar::height_of(const Shape& shape) const {
  if (const auto* text = std::get_if<TextShape>(&shape)) return text->trie.empty() ? kNoHeight : 0;
  if (const auto* number = std::get_if<NumberRange>(&shape)) return number->empty() ? kNoHeight : 0;
  if (const auto* object = std::get_if<ObjectShape>(&shape)) return one_more(height_of_required(*this, object->order));
  if (const auto* array = std::get_if<ArrayShape>(&shape)) {
    int elements = 0;
    for (std::uint32_t i = 0; i < array->min; ++i) {
      const bool in_prefix = i < array->prefix.size();
      elements = std::max(elements, values[in_prefix ? array->prefix[i] : array->items].height);
      if (!in_prefix) break;
    }
    return one_more(elements);
  }
  if (const auto* ended = std::get_if<EndedShape>(&shape)) return values[ended->value].height;
  if (const auto* fields = std::get_if<FieldsShape>(&shape)) return height_of_required(*this, fields->order);
  if (const auto* choice = std::get_if<SwitchShape>(&shape)) {
    int least = kNoHeight;
    for (const ShapeId next : choice->next) least = std::min(least, height_of(shapes[next]));
    return least;
  }
  return 0;
}

}  // namespace strata
