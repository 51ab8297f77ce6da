// Names of what ends an answer.
#include "engine/request.h"

namespace strata {

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::none:
      return "";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::failed:
      return "failed";
    case FinishReason::numerical_error:
      return "numerical_error";
  }
  return "";
}

}  // namespace strata
