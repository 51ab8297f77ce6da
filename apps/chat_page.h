// The chat page (web/), built into the program.
#pragma once

#include <string_view>

namespace strata {

/// web/dist/index.html as it was when the program was built.
std::string_view chat_page();

}  // namespace strata
