// Foreign names in messages: quoted, printable and short.
#pragma once

#include <string>
#include <string_view>

namespace strata {

/// `text` in double quotes, control characters as "?", cut after about 120 bytes at a character's end.
std::string in_quotes(std::string_view text);

}  // namespace strata
