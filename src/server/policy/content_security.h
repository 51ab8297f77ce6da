// The security policy of the chat page: only what is written in it runs, and it talks to nobody else.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace strata {

/// FIPS 180-4.
std::array<std::uint8_t, 32> sha256(std::string_view bytes);

/// A Content-Security-Policy for `html`, with the hashes of its inline <script> and <style> elements.
std::string content_security_policy(std::string_view html);

}  // namespace strata
