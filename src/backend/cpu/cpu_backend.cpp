// What the CPU backend is made of: threads, instruction set, memory, weights, scratch.
#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/memory.h"

namespace strata {

CpuBackend::CpuBackend(int threads, Isa isa, bool pinned)
    : pool_(threads == 0 ? available_threads() : threads, pinned), isa_(isa), kernels_(kernels_of(isa)) {}

std::string CpuBackend::description() const {
  return "cpu " + std::string(name_of(isa_)) + ", " + std::to_string(pool_.size()) +
         (pool_.size() == 1 ? " thread" : " threads") + (pool_.pinned() ? " pinned" : "");
}

Buffer CpuBackend::allocate(std::int64_t bytes) {
  const bool shares_pages = bytes >= kMappedBytes && bytes < kHugePageBytes;
  return shares_pages ? arena_.take(bytes) : allocate_host(bytes);
}
void CpuBackend::upload(std::span<const std::byte> host, std::byte* to) {
  if (!host.empty()) std::memcpy(to, host.data(), host.size());
}
void CpuBackend::download(const std::byte* from, std::span<std::byte> host) {
  if (!host.empty()) std::memcpy(host.data(), from, host.size());
}
void CpuBackend::copy(const std::byte* from, std::byte* to, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
void CpuBackend::zero(std::byte* at, std::int64_t bytes) {
  if (bytes > 0) std::memset(at, 0, static_cast<std::size_t>(bytes));
}

std::unique_ptr<Linear> CpuBackend::load_linear(std::span<const LinearWeight> experts) { return packer_.pack(experts); }
std::int64_t CpuBackend::packed_bytes(std::span<const LinearWeight> experts) const { return packed_size(experts); }

std::int64_t CpuBackend::scratch_bytes(const WorkLimits& limits) const {
  return lay_out_scratch(limits, pool_.size(), kernels_.activation_bytes, nullptr).bytes;
}

void CpuBackend::reserve(const WorkLimits& limits) {
  scratch_memory_ = nullptr;
  scratch_memory_ = allocate_host(scratch_bytes(limits));
  scratch_ = lay_out_scratch(limits, pool_.size(), kernels_.activation_bytes, scratch_memory_.get());
}

StagedBatch CpuBackend::stage(const Batch& batch) {
  pool_.pin_caller();  // here, not when weights are loaded: the loading thread may start others
  return {batch, nullptr};
}

const PackedLinear& CpuBackend::packed(const Linear& linear) const {
  const auto* mine = dynamic_cast<const PackedLinear*>(&linear);
  CHECK(mine, "a linear layer of another backend");
  return *mine;
}

const Scratch& CpuBackend::scratch() const {
  CHECK(scratch_memory_, "the cpu backend's reserve() comes before the first step");
  return scratch_;
}

const SequenceRows& sequence_of_row(const Batch& batch, std::int64_t row) {
  const auto after = std::upper_bound(batch.sequences.begin(), batch.sequences.end(), row,
                                      [](std::int64_t r, const SequenceRows& s) { return r < s.first_row; });
  CHECK(after != batch.sequences.begin() && row < (after - 1)->first_row + (after - 1)->count, "a row of no sequence");
  return *(after - 1);
}

}  // namespace strata
