// All memory of all sequences, and what one sequence owns of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "state/state_layout.h"

namespace strata {

class StatePool;

/// What one sequence has left behind: a slot of recurrent state and pages of keys and values. Move-only; gives both
/// back when it dies. The pool must outlive it.
class SequenceState {
 public:
  SequenceState() = default;
  SequenceState(SequenceState&& other) noexcept;
  SequenceState& operator=(SequenceState&& other) noexcept;
  ~SequenceState();

  /// Tokens that the state has seen.
  std::int64_t length() const { return length_; }
  std::int32_t slot() const { return slot_; }
  std::span<const std::int32_t> pages() const { return pages_; }
  /// Tokens that the pages have room for.
  std::int64_t capacity() const { return static_cast<std::int64_t>(pages_.size()) * kPageSize; }
  /// The next step's rows: `count` tokens from row `first_row`.
  SequenceRows rows(std::int64_t first_row, std::int64_t count) const {
    return {first_row, count, length_, slot_, pages_};
  }
  /// Counts tokens that a step was given for this sequence.
  void advance(std::int64_t tokens);

 private:
  friend class StatePool;
  StatePool* pool_ = nullptr;
  std::int64_t length_ = 0;
  std::int32_t slot_ = -1;
  std::vector<std::int32_t> pages_;
};

/// What a sequence has left behind, in host memory.
struct HostState {
  std::int64_t length = 0;           // tokens that it has seen
  std::vector<std::byte> recurrent;  // its slot, layer by layer
  std::vector<std::byte> pages;      // all of them, layer by layer
};

/// Allocated once. A page belongs to one sequence while it fills; once full it may be shared by forks. Not thread-safe:
/// the engine's thread owns it.
class StatePool {
 public:
  /// Throws Error{out_of_memory} if `slots` and `pages` don't fit.
  StatePool(Backend& backend, StateLayout layout, std::int64_t slots, std::int64_t pages);
  StatePool(const StatePool&) = delete;
  StatePool& operator=(const StatePool&) = delete;

  const StateLayout& layout() const { return layout_; }
  LayerStates& layers() { return layers_; }

  /// A zeroed slot and no pages; nothing if no slot is free.
  std::optional<SequenceState> acquire();
  /// Pages for `tokens` tokens more than it has seen. False, and nothing changed, if too few are free.
  bool reserve(SequenceState& state, std::int64_t tokens);
  /// Gives back the pages that `state` has reserved and not begun.
  void trim(SequenceState& state);
  /// A second sequence with the same past: full pages shared, the last, partial page and the slot copied. It may be
  /// taken at any token and costs slot_bytes() and at most a page. Nothing if there is no slot or page for it.
  std::optional<SequenceState> fork(const SequenceState& state);

  /// A copy of `state` in host memory, for when its slot and pages are needed.
  HostState download(const SequenceState& state) const;
  /// A sequence of the same bits. Nothing if there is no slot or there are too few pages for it.
  std::optional<SequenceState> upload(const HostState& state);

  /// Sequences and forks that hold a page.
  std::int32_t owners(std::int32_t page) const { return owners_[static_cast<std::size_t>(page)]; }
  std::int64_t total_slots() const { return total_slots_; }
  std::int64_t free_slots() const { return static_cast<std::int64_t>(free_slots_.size()); }
  std::int64_t free_pages() const { return static_cast<std::int64_t>(free_pages_.size()); }
  std::int64_t total_pages() const { return static_cast<std::int64_t>(owners_.size()); }

 private:
  friend class SequenceState;
  /// A slot with whatever is in it, and no pages. There must be a free one.
  SequenceState take_slot();
  void release(SequenceState& state);
  void give_back(std::int32_t page);

  Backend& backend_;
  StateLayout layout_;
  LayerStates layers_;
  std::int64_t total_slots_;
  std::vector<std::int32_t> free_slots_, free_pages_;
  std::vector<std::int32_t> owners_;  // sequences that hold a page
};

}  // namespace strata
