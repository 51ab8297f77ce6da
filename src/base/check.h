// CHECK: what must hold unless Strata itself has a bug. In every build; nothing that a user sends may reach one.
#pragma once

namespace strata {

/// Prints the condition, the place and the message to stderr and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* message);

}  // namespace strata

#define CHECK(condition, message) \
  ((condition) ? static_cast<void>(0) : ::strata::check_failed(#condition, __FILE__, __LINE__, message))
