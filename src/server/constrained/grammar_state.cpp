#include "server/constrained/grammar_state.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

namespace strata {
namespace {

using Stack = GrammarAutomaton::Stack;

// Blanks that have come: none, a space, a line end and spaces; before an answer line ends.
constexpr std::uint32_t kNoBlanks = 0, kSpace = 1, kLineEnd = 2, kIndented = kLineEnd + kMaxIndent;
constexpr std::uint32_t kBeforeAnswer = kIndented + 1, kLineEndsBefore = kBeforeAnswer + kMaxLeadingLineEnds;
constexpr std::uint32_t kNoneAllowed = kLineEndsBefore + 1;
static_assert(kNoneAllowed < 32, "five bits of a container's state");

bool is_blank(std::uint8_t byte) { return byte == ' ' || byte == '\n'; }

/// The blanks with one more; nothing if that is too many.
std::optional<std::uint32_t> add_blank(std::uint32_t blanks, std::uint8_t byte) {
  const bool before_answer = blanks >= kBeforeAnswer && blanks < kNoneAllowed;
  if (byte == '\n') {
    if (blanks == kNoBlanks) return kLineEnd;
    if (before_answer && blanks < kLineEndsBefore) return blanks + 1;
  } else if (byte == ' ') {
    if (blanks == kNoBlanks || before_answer) return kSpace;
    if (blanks >= kLineEnd && blanks < kIndented) return blanks + 1;
  }
  return {};
}

/// A container's state in parts. An array counts its elements in `index`; an object's or a call's keys before `index`
/// have come, `word` is the place in the trie of a key that is being written, `current` the key whose value is next.
struct ContainerState {
  enum class Phase : std::uint8_t { start, first, key, colon, after, next } phase = Phase::start;
  std::uint32_t blanks = 0;
  std::uint32_t index = 0;
  std::uint32_t current = 0;
  ByteTrie::Node word = 0;

  // An object's keys are at most 5,000; `word` and `current` are never needed at a time.
  static ContainerState unpack(std::uint64_t state) {
    ContainerState parts;
    parts.phase = static_cast<Phase>(state & 7);
    parts.blanks = static_cast<std::uint32_t>(state >> 3 & 31);
    parts.index = static_cast<std::uint32_t>(state >> 8 & 0xFFFFFF);
    const auto rest = static_cast<std::uint32_t>(state >> 32);
    (parts.phase == Phase::key ? parts.word : parts.current) = rest;
    return parts;
  }
  std::uint64_t pack() const {
    const std::uint64_t rest = phase == Phase::key ? word : phase == Phase::colon ? current : 0;
    return static_cast<std::uint64_t>(phase) | std::uint64_t{blanks} << 3 | std::uint64_t{index} << 8 | rest << 32;
  }
};
using Phase = ContainerState::Phase;

std::uint64_t mix(std::uint64_t hash, std::uint64_t bits) {
  hash = (hash ^ bits) * 0x9E3779B97F4A7C15;
  return hash ^ hash >> 29;
}

}  // namespace

GrammarAutomaton::GrammarAutomaton(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {
  frames_.push_back({kDone, 0, 0, 0, 0});
}

Stack GrammarAutomaton::start() {
  return push(kDone, kAwaits | grammar_->root, grammar_->leading_blanks ? kBeforeAnswer : kNoneAllowed, 0);
}

Stack GrammarAutomaton::push(Stack parent, std::uint32_t what, std::uint64_t state, std::uint32_t depth) {
  const std::uint64_t hash = mix(mix(frames_[parent].hash, what), state);
  frames_.push_back({parent, what, state, hash, depth});
  return static_cast<Stack>(frames_.size() - 1);
}

Stack GrammarAutomaton::with_state(Stack stack, std::uint64_t state) {
  const Frame frame = frames_[stack];
  return frame.state == state ? stack : push(frame.parent, frame.what, state, frame.depth);
}

bool GrammarAutomaton::same(Stack a, Stack b) const {
  for (; a != b; a = frames_[a].parent, b = frames_[b].parent) {
    const Frame& left = frames_[a];
    const Frame& right = frames_[b];
    if (left.hash != right.hash || left.what != right.what || left.state != right.state) return false;
    if (a == kDone || b == kDone) return false;
  }
  return true;
}

void GrammarAutomaton::add(Stack stack, std::vector<Stack>& out, std::size_t begin) const {
  if (out.size() - begin == kMaxStacks) return;
  for (std::size_t i = begin; i < out.size(); ++i)
    if (same(out[i], stack)) return;
  out.push_back(stack);
}

void GrammarAutomaton::step(Stack stack, std::uint8_t byte, std::vector<Stack>& out, std::size_t begin) {
  step(stack, byte, Output{out, begin});
}

void GrammarAutomaton::step(Stack stack, std::uint8_t byte, Output out) {
  if (stack == kDone) return;
  const Frame frame = frames_[stack];
  if ((frame.what & kAwaits) != 0) {
    if (const auto blanks = add_blank(static_cast<std::uint32_t>(frame.state), byte))
      return add(with_state(stack, *blanks), out.stacks, out.begin);
    return begin_value(frame.what & ~kAwaits, byte, frame.parent, frame.depth, out);
  }
  const Shape& shape = grammar_->shapes[frame.what];
  if (const auto* string = std::get_if<StringShape>(&shape)) {
    if (const auto next = string->step(frame.state, byte))
      add(*next == StringShape::kEnded ? frame.parent : with_state(stack, *next), out.stacks, out.begin);
  } else if (const auto* number = std::get_if<NumberRange>(&shape)) {
    if (const auto next = number->step(frame.state, byte)) {
      add(with_state(stack, *next), out.stacks, out.begin);
    } else if (number->can_end(frame.state)) {
      step(frame.parent, byte, out);
    }
  } else if (const auto* text = std::get_if<TextShape>(&shape)) {
    step_text(stack, *text, byte, out);
  } else if (const auto* object = std::get_if<ObjectShape>(&shape)) {
    step_object(stack, *object, byte, out);
  } else if (const auto* array = std::get_if<ArrayShape>(&shape)) {
    step_array(stack, *array, byte, out);
  } else if (const auto* raw = std::get_if<RawTextShape>(&shape)) {
    if (const auto next = raw->step(frame.state, byte))
      add(*next == RawTextShape::kEnded ? frame.parent : with_state(stack, *next), out.stacks, out.begin);
  } else if (const auto* ended = std::get_if<EndedShape>(&shape)) {
    begin_value(ended->value, byte, push(frame.parent, ended->end, 0, frame.depth), frame.depth, out);
  } else if (const auto* fields = std::get_if<FieldsShape>(&shape)) {
    step_fields(stack, *fields, byte, out);
  } else if (const auto* choice = std::get_if<SwitchShape>(&shape)) {
    step_switch(stack, *choice, byte, out);
  }
}

void GrammarAutomaton::begin_value(ValueId value, std::uint8_t byte, Stack parent, std::uint32_t depth, Output out) {
  for (const ShapeId shape : grammar_->values[value].shapes) {
    if (!grammar_->shape_fits(shape, static_cast<int>(depth))) continue;
    const std::size_t mark = frames_.size();
    const std::size_t found = out.stacks.size();
    step(push(parent, shape, 0, depth), byte, out);
    if (out.stacks.size() == found) rollback(mark);
  }
}

void GrammarAutomaton::step_text(Stack stack, const TextShape& text, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  const auto at = static_cast<ByteTrie::Node>(frame.state);
  const ByteTrie::Node next = text.trie.child(at, byte);
  if (next != ByteTrie::kNone)
    add(text.trie.has_children(next) ? with_state(stack, next) : frame.parent, out.stacks, out.begin);
  if (text.trie.word_at(at) != ByteTrie::kNoWord) step(frame.parent, byte, out);
}

bool GrammarAutomaton::may_have_key(const ObjectShape& object, std::uint32_t first, std::uint32_t depth) const {
  const int inside = static_cast<int>(depth);
  const std::uint32_t last = object.order.next_required[first];
  if (last < object.order.size()) return true;  // its value fits, or the object would not have begun
  if (object.additional != kNoValue && grammar_->fits(object.additional, inside)) return true;
  return std::any_of(object.order.values.begin() + first, object.order.values.end(),
                     [&](ValueId value) { return grammar_->fits(value, inside); });
}

void GrammarAutomaton::step_object(Stack stack, const ObjectShape& object, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  ContainerState state = ContainerState::unpack(frame.state);
  if (state.phase == Phase::key) return step_key(stack, object, byte, out);
  if (is_blank(byte) && state.phase != Phase::start) {
    const auto blanks = add_blank(state.blanks, byte);
    if (!blanks) return;
    state.blanks = *blanks;
    return add(with_state(stack, state.pack()), out.stacks, out.begin);
  }
  state.blanks = kNoBlanks;
  const auto go = [&](Phase phase) {
    state.phase = phase;
    add(push(frame.parent, frame.what, state.pack(), frame.depth), out.stacks, out.begin);
  };
  const bool may_close = object.order.next_required[state.index] == object.order.size();
  switch (state.phase) {
    case Phase::start:
      if (byte != '{') return;
      state.phase = Phase::first;
      return add(push(frame.parent, frame.what, state.pack(), frame.depth + 1), out.stacks, out.begin);
    case Phase::first:
      if (byte == '}' && may_close) return add(frame.parent, out.stacks, out.begin);
      [[fallthrough]];
    case Phase::next:
      if (byte == '"') begin_key(stack, object, byte, out);
      return;
    case Phase::colon: {
      if (byte != ':') return;
      const std::uint32_t key = state.current;
      state.phase = Phase::after;
      const Stack container = push(frame.parent, frame.what, state.pack(), frame.depth);
      const ValueId value = key < object.order.size() ? object.order.values[key] : object.additional;
      return add(push(container, kAwaits | value, 0, frame.depth), out.stacks, out.begin);
    }
    case Phase::after:
      if (byte == '}' && may_close) return add(frame.parent, out.stacks, out.begin);
      if (byte == ',' && may_have_key(object, state.index, frame.depth)) go(Phase::next);
      return;
    case Phase::key:
      return;
  }
}

// After the quote that opens a key: a declared one, or another.
void GrammarAutomaton::begin_key(Stack stack, const ObjectShape& object, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  ContainerState state = ContainerState::unpack(frame.state);
  state.blanks = kNoBlanks;
  const std::uint32_t last = object.order.next_required[state.index];
  const bool rest_is_optional = last == object.order.size();
  const auto fits = [&](std::int32_t key) {
    return grammar_->fits(object.order.values[static_cast<std::size_t>(key)], static_cast<int>(frame.depth));
  };
  if (!object.keys.empty() && object.keys.any_below(ByteTrie::kRoot, static_cast<std::int32_t>(state.index),
                                                    static_cast<std::int32_t>(last), fits)) {
    state.phase = Phase::key;
    state.word = ByteTrie::kRoot;
    add(push(frame.parent, frame.what, state.pack(), frame.depth), out.stacks, out.begin);
  }
  if (rest_is_optional && object.additional != kNoValue &&
      grammar_->fits(object.additional, static_cast<int>(frame.depth))) {
    state.phase = Phase::colon;
    state.index = state.current = object.order.size();
    const Stack container = push(frame.parent, frame.what, state.pack(), frame.depth);
    step(push(container, object.additional_key, 0, frame.depth), byte, out);
  }
}

void GrammarAutomaton::step_key(Stack stack, const ObjectShape& object, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  ContainerState state = ContainerState::unpack(frame.state);
  state.word = object.keys.child(state.word, byte);
  if (state.word == ByteTrie::kNone) return;
  const auto fits = [&](std::int32_t key) {
    return grammar_->fits(object.order.values[static_cast<std::size_t>(key)], static_cast<int>(frame.depth));
  };
  const auto first = static_cast<std::int32_t>(state.index);
  const auto last = static_cast<std::int32_t>(object.order.next_required[state.index]);
  if (!object.keys.any_below(state.word, first, last, fits)) return;
  if (const std::int32_t key = object.keys.word_at(state.word); key != ByteTrie::kNoWord) {
    state.phase = Phase::colon;
    state.current = static_cast<std::uint32_t>(key);
    state.index = state.current + 1;
  }
  add(push(frame.parent, frame.what, state.pack(), frame.depth), out.stacks, out.begin);
}

void GrammarAutomaton::step_array(Stack stack, const ArrayShape& array, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  ContainerState state = ContainerState::unpack(frame.state);
  if (state.phase == Phase::start) {
    if (byte != '[') return;
    state.phase = Phase::first;
    return add(push(frame.parent, frame.what, state.pack(), frame.depth + 1), out.stacks, out.begin);
  }
  if (is_blank(byte)) {
    const auto blanks = add_blank(state.blanks, byte);
    if (!blanks) return;
    state.blanks = *blanks;
    return add(with_state(stack, state.pack()), out.stacks, out.begin);
  }
  state.blanks = kNoBlanks;
  const std::uint32_t count = state.index;
  if (byte == ']') {
    if (count >= array.min) add(frame.parent, out.stacks, out.begin);
    return;
  }
  const ValueId element = count < array.prefix.size() ? array.prefix[count] : array.items;
  if (count >= array.max || !grammar_->fits(element, static_cast<int>(frame.depth))) return;
  // Where no limit is ahead, elements need not be counted, and all places in the array are one.
  const bool counts = array.max != ArrayShape::kUnlimited || count < array.min || count < array.prefix.size();
  const bool is_first = state.phase == Phase::first;
  if (!is_first && byte != ',') return;
  state.phase = Phase::after;
  state.index += counts;
  const Stack container = push(frame.parent, frame.what, state.pack(), frame.depth);
  if (is_first) {
    begin_value(element, byte, container, frame.depth, out);
  } else {
    add(push(container, kAwaits | element, 0, frame.depth), out.stacks, out.begin);
  }
}

void GrammarAutomaton::step_fields(Stack stack, const FieldsShape& fields, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  ContainerState state = ContainerState::unpack(frame.state);
  state.phase = Phase::key;
  state.word = fields.texts.child(state.word, byte);
  if (state.word == ByteTrie::kNone) return;
  const auto end = static_cast<std::int32_t>(fields.order.size());
  const auto fits = [&](std::int32_t key) {
    return key == end || grammar_->fits(fields.order.values[static_cast<std::size_t>(key)], 0);
  };
  // The number after the last key is the end: allowed when no required key is ahead.
  const auto first = static_cast<std::int32_t>(state.index);
  const auto last = static_cast<std::int32_t>(fields.order.next_required[state.index]);
  if (!fields.texts.any_below(state.word, first, last, fits)) return;
  const std::int32_t key = fields.texts.word_at(state.word);
  if (key == end) return add(frame.parent, out.stacks, out.begin);
  if (key == ByteTrie::kNoWord) return add(with_state(stack, state.pack()), out.stacks, out.begin);
  state.index = static_cast<std::uint32_t>(key) + 1;
  state.word = ByteTrie::kRoot;
  const Stack rest = push(frame.parent, frame.what, state.pack(), frame.depth);
  const ValueId value = fields.order.values[static_cast<std::size_t>(key)];
  add(push(rest, kAwaits | value, kNoneAllowed, frame.depth), out.stacks, out.begin);
}

void GrammarAutomaton::step_switch(Stack stack, const SwitchShape& choice, std::uint8_t byte, Output out) {
  const Frame frame = frames_[stack];
  const ByteTrie::Node at = choice.texts.child(static_cast<ByteTrie::Node>(frame.state), byte);
  if (at == ByteTrie::kNone) return;
  const std::int32_t word = choice.texts.word_at(at);
  add(word == ByteTrie::kNoWord ? with_state(stack, at)
                                : push(frame.parent, choice.next[static_cast<std::size_t>(word)], 0, frame.depth),
      out.stacks, out.begin);
}

bool GrammarAutomaton::can_end(Stack stack) const {
  for (; stack != kDone; stack = frames_[stack].parent) {
    const Frame& frame = frames_[stack];
    if ((frame.what & kAwaits) != 0) return false;
    const Shape& shape = grammar_->shapes[frame.what];
    const auto* number = std::get_if<NumberRange>(&shape);
    const auto* text = std::get_if<TextShape>(&shape);
    if (number != nullptr
            ? !number->can_end(frame.state)
            : text == nullptr || text->trie.word_at(static_cast<ByteTrie::Node>(frame.state)) == ByteTrie::kNoWord) {
      return false;
    }
  }
  return true;
}

void GrammarAutomaton::compact(std::vector<Stack>& stacks) {
  std::unordered_map<Stack, Stack> places = {{kDone, kDone}};
  std::vector<Frame> kept = {frames_[kDone]};
  std::vector<Stack> path;
  for (Stack& stack : stacks) {
    for (Stack at = stack; !places.contains(at); at = frames_[at].parent) path.push_back(at);
    for (; !path.empty(); path.pop_back()) {
      Frame frame = frames_[path.back()];
      frame.parent = places[frame.parent];
      places[path.back()] = static_cast<Stack>(kept.size());
      kept.push_back(frame);
    }
    stack = places[stack];
  }
  frames_ = std::move(kept);
}

void GrammarAutomaton::append_key(Stack stack, std::uint32_t longest, std::string& key) const {
  const auto append = [&](auto number) { key.append(reinterpret_cast<const char*>(&number), sizeof number); };
  for (; stack != kDone; stack = frames_[stack].parent) {
    const Frame& frame = frames_[stack];
    std::uint64_t state = frame.state;
    if ((frame.what & kAwaits) == 0) {
      const Shape& shape = grammar_->shapes[frame.what];
      if (const auto* string = std::get_if<StringShape>(&shape)) state = string->reduced(state, longest);
      if (const auto* raw = std::get_if<RawTextShape>(&shape)) state = raw->reduced(state, longest);
    }
    append(frame.what);
    append(state);
  }
  append(kNoValue);
}

std::optional<std::uint32_t> GrammarAutomaton::room(Stack stack) const {
  const Frame& frame = frames_[stack];
  if (stack == kDone || (frame.what & kAwaits) != 0) return {};
  const Shape& shape = grammar_->shapes[frame.what];
  if (const auto* string = std::get_if<StringShape>(&shape)) return string->room(frame.state);
  if (const auto* raw = std::get_if<RawTextShape>(&shape)) return raw->room(frame.state);
  return {};
}

bool GrammarAutomaton::is_steady(Stack stack) const {
  const Frame& frame = frames_[stack];
  if (stack == kDone || (frame.what & kAwaits) != 0) return false;
  const Shape& shape = grammar_->shapes[frame.what];
  if (const auto* string = std::get_if<StringShape>(&shape)) return string->is_steady(frame.state);
  if (const auto* raw = std::get_if<RawTextShape>(&shape)) return raw->is_steady(frame.state);
  return false;
}

std::optional<GrammarAutomaton::TextPlace> GrammarAutomaton::text_place(Stack stack, std::uint32_t longest) const {
  const Frame& frame = frames_[stack];
  if (stack == kDone || (frame.what & kAwaits) != 0) return {};
  const Shape& shape = grammar_->shapes[frame.what];
  if (const auto* string = std::get_if<StringShape>(&shape)) {
    if (const auto length = string->counted(frame.state)) return TextPlace{TextKind::string, *length};
  } else if (const auto* raw = std::get_if<RawTextShape>(&shape); raw && raw->is_free(frame.state, longest)) {
    return TextPlace{TextKind::raw, {}};
  }
  return {};
}

// Compacting costs what the stacks are long, so it waits until much can be freed.
constexpr std::size_t kFramesToCompact = 4096;

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar) : automaton_(std::move(grammar)) {
  stacks_.push_back(automaton_.start());
}

bool GrammarState::advance(std::string_view bytes) {
  const std::size_t mark = automaton_.frames();
  std::vector<Stack> reached = stacks_;
  for (const char byte : bytes) {
    next_.clear();
    for (const Stack stack : reached) automaton_.step(stack, static_cast<std::uint8_t>(byte), next_, 0);
    if (next_.empty()) {
      automaton_.rollback(mark);
      return false;
    }
    std::swap(reached, next_);
  }
  stacks_ = std::move(reached);
  if (automaton_.frames() > kFramesToCompact) automaton_.compact(stacks_);
  return true;
}

bool GrammarState::can_end() const {
  return std::any_of(stacks_.begin(), stacks_.end(), [&](Stack stack) { return automaton_.can_end(stack); });
}

}  // namespace strata
