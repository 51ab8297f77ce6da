// The one word that text, engine and backend share.
#pragma once

#include <cstdint>

namespace strata {

using TokenId = std::int32_t;

}  // namespace strata
