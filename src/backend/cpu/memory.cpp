// Allocation of zeroed host memory.
#include "backend/cpu/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <string>

#include "base/check.h"
#include "base/error.h"

namespace strata {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::align_val_t kAlignment{256};

[[noreturn]] void fail(std::int64_t bytes) {
  throw Error(ErrorCode::out_of_memory, "this machine has no " + std::to_string(bytes) + " bytes (" +
                                            std::to_string(bytes >> 20) +
                                            " MiB) of memory left; free some, or take a smaller model or context");
}

}  // namespace

Buffer allocate_host(std::int64_t bytes) {
  CHECK(bytes >= 0, "a negative size");
  const auto size = static_cast<std::size_t>(bytes);
  if (size < kHugePage) {
    void* memory = ::operator new(size == 0 ? 1 : size, kAlignment, std::nothrow);
    if (!memory) fail(bytes);
    std::memset(memory, 0, size);
    return Buffer(static_cast<std::byte*>(memory), [](std::byte* p) { ::operator delete(p, kAlignment); });
  }
  const std::size_t mapped = size + kHugePage;  // room to start on a huge page
  void* memory = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(bytes);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  auto* start = reinterpret_cast<std::byte*>((address + kHugePage - 1) / kHugePage * kHugePage);
  ::madvise(start, size, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
  return Buffer(start, [memory, mapped](std::byte*) { ::munmap(memory, mapped); });
}

}  // namespace strata
