#include "state/state_pool.h"

#include <utility>

#include "base/check.h"

namespace strata {
namespace {

std::int64_t conv_bytes(const ConvState& s) { return (s.width - 1) * s.channels * size_of(s.dtype); }
std::int64_t ssm_bytes(const SsmState& s) { return s.heads * s.head_dim * s.state_size * size_of(DType::f32); }
std::int64_t page_bytes(const KvPages& c) { return 2 * c.heads * c.page_size * c.head_dim * size_of(c.dtype); }

/// Calls f(data, bytes of one slot) for every recurrent state.
template <class F>
void for_each_recurrent(const LayerStates& layers, F f) {
  for (const ConvState& s : layers.conv) f(s.data.get(), conv_bytes(s));
  for (const SsmState& s : layers.ssm) f(s.data.get(), ssm_bytes(s));
}

}  // namespace

SequenceState::SequenceState(SequenceState&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      length_(std::exchange(other.length_, 0)),
      slot_(std::exchange(other.slot_, -1)),
      pages_(std::move(other.pages_)) {
  other.pages_.clear();
}

SequenceState& SequenceState::operator=(SequenceState&& other) noexcept {
  if (this == &other) return *this;
  if (pool_) pool_->release(*this);
  pool_ = std::exchange(other.pool_, nullptr);
  length_ = std::exchange(other.length_, 0);
  slot_ = std::exchange(other.slot_, -1);
  pages_ = std::move(other.pages_);
  other.pages_.clear();
  return *this;
}

SequenceState::~SequenceState() {
  if (pool_) pool_->release(*this);
}

void SequenceState::advance(std::int64_t tokens) {
  CHECK(tokens >= 0 && length_ + tokens <= capacity(), "a sequence grew past its pages");
  length_ += tokens;
}

StatePool::StatePool(Backend& backend, StateLayout layout, std::int64_t slots, std::int64_t pages)
    : backend_(backend), layout_(std::move(layout)), total_slots_(slots), owners_(static_cast<std::size_t>(pages), 0) {
  const StateTypes types = layout_.types;
  for (const MambaStateShape& m : layout_.shape.mamba) {
    ConvState conv{nullptr, types.conv, m.conv_channels, m.conv_width};
    conv.data = backend.allocate(slots * conv_bytes(conv));
    layers_.conv.push_back(std::move(conv));
    SsmState ssm{nullptr, m.heads, m.head_dim, m.state_size};
    ssm.data = backend.allocate(slots * ssm_bytes(ssm));
    layers_.ssm.push_back(std::move(ssm));
  }
  for (const KvShape& a : layout_.shape.attention) {
    KvPages kv{nullptr, types.kv, kPageSize, a.heads, a.head_dim, a.k_scale, a.v_scale};
    kv.data = backend.allocate(pages * page_bytes(kv));
    layers_.kv.push_back(std::move(kv));
  }
  // Lowest numbers are handed out first.
  for (std::int64_t s = slots; s-- > 0;) free_slots_.push_back(static_cast<std::int32_t>(s));
  for (std::int64_t p = pages; p-- > 0;) free_pages_.push_back(static_cast<std::int32_t>(p));
}

SequenceState StatePool::take_slot() {
  SequenceState state;
  state.pool_ = this;
  state.slot_ = free_slots_.back();
  free_slots_.pop_back();
  return state;
}

std::optional<SequenceState> StatePool::acquire() {
  if (free_slots_.empty()) return std::nullopt;
  SequenceState state = take_slot();
  for_each_recurrent(layers_,
                     [&](std::byte* data, std::int64_t bytes) { backend_.zero(data + state.slot_ * bytes, bytes); });
  return state;
}

bool StatePool::reserve(SequenceState& state, std::int64_t tokens) {
  CHECK(state.pool_ == this, "a sequence of another pool");
  const std::int64_t missing =
      StateLayout::pages_for(state.length_ + tokens) - static_cast<std::int64_t>(state.pages_.size());
  if (missing > free_pages()) return false;
  for (std::int64_t i = 0; i < missing; ++i) {
    const std::int32_t page = free_pages_.back();
    free_pages_.pop_back();
    owners_[static_cast<std::size_t>(page)] = 1;
    state.pages_.push_back(page);
  }
  return true;
}

std::optional<SequenceState> StatePool::fork(const SequenceState& state) {
  CHECK(state.pool_ == this, "a sequence of another pool");
  const std::int64_t full = state.length_ / kPageSize;
  const bool partial = state.length_ % kPageSize != 0;
  if (free_slots_.empty() || (partial && free_pages_.empty())) return std::nullopt;

  SequenceState copy = take_slot();
  copy.length_ = state.length_;
  for_each_recurrent(layers_, [&](std::byte* data, std::int64_t bytes) {
    backend_.copy(data + state.slot_ * bytes, data + copy.slot_ * bytes, bytes);
  });
  // A full page is never written again, so it can have several owners.
  copy.pages_.assign(state.pages_.begin(), state.pages_.begin() + full);
  for (std::int32_t page : copy.pages_) ++owners_[static_cast<std::size_t>(page)];
  if (partial) {
    CHECK(reserve(copy, 0), "a page was free");
    const std::int64_t from = state.pages_[static_cast<std::size_t>(full)], to = copy.pages_.back();
    for (const KvPages& kv : layers_.kv) {
      const std::int64_t bytes = page_bytes(kv);
      backend_.copy(kv.data.get() + from * bytes, kv.data.get() + to * bytes, bytes);
    }
  }
  return copy;
}

HostState StatePool::download(const SequenceState& state) const {
  CHECK(state.pool_ == this, "a sequence of another pool");
  HostState copy;
  copy.length = state.length_;
  const auto pages = static_cast<std::size_t>(StateLayout::pages_for(state.length_));
  copy.recurrent.resize(static_cast<std::size_t>(layout_.slot_bytes()));
  copy.pages.resize(pages * static_cast<std::size_t>(layout_.page_bytes()));
  std::byte* to = copy.recurrent.data();
  const auto fetch = [&](const std::byte* from, std::int64_t bytes) {
    backend_.download(from, {to, static_cast<std::size_t>(bytes)});
    to += bytes;
  };
  for_each_recurrent(layers_, [&](std::byte* data, std::int64_t bytes) { fetch(data + state.slot_ * bytes, bytes); });
  to = copy.pages.data();
  for (const KvPages& kv : layers_.kv) {
    const std::int64_t bytes = page_bytes(kv);
    for (std::size_t p = 0; p < pages; ++p) fetch(kv.data.get() + state.pages_[p] * bytes, bytes);
  }
  return copy;
}

std::optional<SequenceState> StatePool::upload(const HostState& state) {
  if (free_slots_.empty() || StateLayout::pages_for(state.length) > free_pages()) return std::nullopt;
  SequenceState copy = take_slot();
  CHECK(reserve(copy, state.length), "the pages were free");
  copy.length_ = state.length;
  const std::byte* from = state.recurrent.data();
  const auto put = [&](std::byte* to, std::int64_t bytes) {
    backend_.upload({from, static_cast<std::size_t>(bytes)}, to);
    from += bytes;
  };
  for_each_recurrent(layers_, [&](std::byte* data, std::int64_t bytes) { put(data + copy.slot_ * bytes, bytes); });
  from = state.pages.data();
  for (const KvPages& kv : layers_.kv) {
    const std::int64_t bytes = page_bytes(kv);
    for (const std::int32_t page : copy.pages_) put(kv.data.get() + page * bytes, bytes);
  }
  return copy;
}

void StatePool::trim(SequenceState& state) {
  CHECK(state.pool_ == this, "a sequence of another pool");
  while (std::ssize(state.pages_) > StateLayout::pages_for(state.length_)) {
    give_back(state.pages_.back());
    state.pages_.pop_back();
  }
}

void StatePool::give_back(std::int32_t page) {
  if (--owners_[static_cast<std::size_t>(page)] == 0) free_pages_.push_back(page);
}

void StatePool::release(SequenceState& state) {
  for (std::int32_t page : state.pages_) give_back(page);
  free_slots_.push_back(state.slot_);
  state.pages_.clear();
  state.pool_ = nullptr;
}

}  // namespace strata
