// The alphabet in which byte-level BPE vocabularies are written: one printable character for each byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace strata {

/// The bytes that `token`, a name as in tokenizer.json, stands for ("Ġthe" is " the"); nothing if a character of it is
/// not of the alphabet. GPT-2's: the printable characters of Latin-1 are themselves, the other 68 bytes in ascending
/// order are U+0100 to U+0143.
std::optional<std::string> bytes_of_byte_level(std::string_view token);

}  // namespace strata
