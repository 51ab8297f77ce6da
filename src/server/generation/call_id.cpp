#include "server/generation/call_id.h"

#include <random>

namespace strata {

std::string random_id(const char* prefix) {
  static constexpr char kDigits[] = "0123456789abcdef";
  thread_local std::random_device device;
  std::string id = prefix;
  for (int word = 0; word < 3; ++word) {
    unsigned bits = device();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) id += kDigits[bits & 15];
  }
  return id;
}

std::string new_call_id() { return random_id("call_"); }

}  // namespace strata
