// Allocation of zeroed host memory.
#include "backend/cpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "base/check.h"
#include "base/error.h"

namespace strata {
namespace {

constexpr auto kHugePage = static_cast<std::size_t>(kHugePageBytes);
constexpr std::align_val_t kAlignment{256};
// Of an arena. What is never written costs address space only.
constexpr std::int64_t kBlock = std::int64_t{64} << 20;

[[noreturn]] void fail(std::int64_t bytes) {
  throw Error(ErrorCode::out_of_memory, "this machine has no " + std::to_string(bytes) + " bytes (" +
                                            std::to_string(bytes >> 20) +
                                            " MiB) of memory left; free some, or take a smaller model or context");
}

}  // namespace

Buffer allocate_host(std::int64_t bytes) {
  CHECK(bytes >= 0, "a negative size");
  const auto size = static_cast<std::size_t>(bytes);
  if (bytes < kMappedBytes) {
    void* memory = ::operator new(size == 0 ? 1 : size, kAlignment, std::nothrow);
    if (!memory) fail(bytes);
    std::memset(memory, 0, size);
    return Buffer(static_cast<std::byte*>(memory), [](std::byte* p) { ::operator delete(p, kAlignment); });
  }
  // Whole huge pages, the last one too if half of it is used; a wish: without them it is only slower.
  const std::size_t huge = (size + kHugePage / 2) / kHugePage * kHugePage;
  const std::size_t mapped = std::max(size, huge) + kHugePage;  // room to start on a huge page
  void* memory = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(bytes);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  auto* start = reinterpret_cast<std::byte*>((address + kHugePage - 1) / kHugePage * kHugePage);
  ::madvise(start, huge, MADV_HUGEPAGE);
  return Buffer(start, [memory, mapped](std::byte*) { ::munmap(memory, mapped); });
}

Buffer HostArena::take(std::int64_t bytes) {
  CHECK(bytes >= 0, "a negative size");
  const std::int64_t size = (bytes + 255) / 256 * 256;
  if (size > size_ - used_) {
    block_ = nullptr;
    size_ = std::max((size + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes, kBlock);
    block_ = allocate_host(size_);
    used_ = 0;
  }
  Buffer part(block_, block_.get() + used_);
  used_ += size;
  return part;
}

}  // namespace strata
