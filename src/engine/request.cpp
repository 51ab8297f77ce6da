// Names of what ends an answer, and of what steps have.
#include "engine/request.h"

#include "engine/engine_stats.h"

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

std::string_view name_of(StepPhase phase) {
  switch (phase) {
    case StepPhase::decode:
      return "decode";
    case StepPhase::prefill:
      return "prefill";
    case StepPhase::mixed:
      return "mixed";
  }
  return "";
}

}  // namespace strata
