// A text that is being written, and where in a grammar it may be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/constrained/grammar.h"
#include "server/constrained/token_trie.h"

namespace strata {

/// A pushdown automaton over bytes. A stack is a linked list of frames that other stacks may share, so to push, to go
/// back and to follow several costs little. JSON decides with each byte what it means but where alternatives overlap
/// (anyOf; a declared and another key); there a text has several stacks. Each can be completed: a byte after which
/// none could is not taken.
class GrammarAutomaton {
 public:
  /// A stack, by its top frame. kDone is the empty one: nothing more may come.
  using Stack = std::uint32_t;
  static constexpr Stack kDone = 0;
  /// Stacks that are followed at a time; more alternatives than these are not.
  static constexpr std::size_t kMaxStacks = 256;

  explicit GrammarAutomaton(std::shared_ptr<const Grammar> grammar);

  const Grammar& grammar() const { return *grammar_; }
  /// The stack of the empty text.
  Stack start();
  /// Appends the stacks after one more byte that aren't among those from `begin` on.
  void step(Stack stack, std::uint8_t byte, std::vector<Stack>& out, std::size_t begin);
  /// Whether the text may end here.
  bool can_end(Stack stack) const;

  /// Frames in use. rollback() forgets those that came after; compact() all that `stacks` don't need, and renumbers.
  std::size_t frames() const { return frames_.size(); }
  void rollback(std::size_t frames) { frames_.resize(frames); }
  void compact(std::vector<Stack>& stacks);

  /// Appends bytes that are the same for stacks after which the same tokens of at most `longest` bytes may come.
  void append_key(Stack stack, std::uint32_t longest, std::string& key) const;
  /// In a text: how many characters without escapes may follow now, and whether they leave the stack as it is.
  std::optional<std::uint32_t> room(Stack stack) const;
  bool is_steady(Stack stack) const;
  /// A text that a stack is in, between two characters, and how many may follow.
  struct TextPlace {
    TextKind kind;
    LengthCounter length;
  };
  /// Nothing where tokens of at most `longest` bytes can't be told by that alone.
  std::optional<TextPlace> text_place(Stack stack, std::uint32_t longest) const;
  /// The stack behind the end of that text.
  Stack after_text(Stack stack) const { return frames_[stack].parent; }

 private:
  struct Frame {
    Stack parent;
    std::uint32_t what;  // a shape; with kAwaits a value that is to begin
    std::uint64_t state;
    std::uint64_t hash;   // of the whole stack
    std::uint32_t depth;  // containers around what is written next
  };
  static constexpr std::uint32_t kAwaits = 1u << 31;

  Stack push(Stack parent, std::uint32_t what, std::uint64_t state, std::uint32_t depth);
  Stack with_state(Stack stack, std::uint64_t state);
  bool same(Stack a, Stack b) const;
  void add(Stack stack, std::vector<Stack>& out, std::size_t begin) const;

  struct Output {
    std::vector<Stack>& stacks;
    std::size_t begin;
  };
  void step(Stack stack, std::uint8_t byte, Output out);
  void begin_value(ValueId value, std::uint8_t byte, Stack parent, std::uint32_t depth, Output out);
  void step_text(Stack stack, const TextShape& text, std::uint8_t byte, Output out);
  void step_object(Stack stack, const ObjectShape& object, std::uint8_t byte, Output out);
  void step_key(Stack stack, const ObjectShape& object, std::uint8_t byte, Output out);
  void begin_key(Stack stack, const ObjectShape& object, std::uint8_t byte, Output out);
  void step_array(Stack stack, const ArrayShape& array, std::uint8_t byte, Output out);
  void step_fields(Stack stack, const FieldsShape& fields, std::uint8_t byte, Output out);
  void step_switch(Stack stack, const SwitchShape& choice, std::uint8_t byte, Output out);
  /// Whether a key from `first` on may come.
  bool may_have_key(const ObjectShape& object, std::uint32_t first, std::uint32_t depth) const;

  std::shared_ptr<const Grammar> grammar_;
  std::vector<Frame> frames_;
};

/// Where a text stands in a grammar. Copyable.
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<const Grammar> grammar);

  /// Takes the next bytes of the text; false, and nothing is taken, if none of the grammar's texts goes on so.
  bool advance(std::string_view bytes);
  /// Whether the text may end here.
  bool can_end() const;

  /// For those who try bytes: they must leave the frames as they were.
  GrammarAutomaton& automaton() { return automaton_; }
  std::span<const GrammarAutomaton::Stack> stacks() const { return stacks_; }

 private:
  GrammarAutomaton automaton_;
  std::vector<GrammarAutomaton::Stack> stacks_, next_;
};

}  // namespace strata
