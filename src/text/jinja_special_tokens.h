// Names of the variables that hold special tokens in a chat template.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace strata {

inline constexpr const char* kSpecialTokenNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                     "pad_token", "cls_token", "mask_token"};

inline bool is_special_token_name(std::string_view name) {
  return std::find(std::begin(kSpecialTokenNames), std::end(kSpecialTokenNames), name) != std::end(kSpecialTokenNames);
}

}  // namespace strata
