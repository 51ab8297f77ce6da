// Names of what ends an answer.
#include "server/generation/event.h"

namespace strata {

std::string_view name_of(AnswerFinish reason) {
  switch (reason) {
    case AnswerFinish::stop:
      return "stop";
    case AnswerFinish::length:
      return "length";
    case AnswerFinish::tool_calls:
      return "tool_calls";
    case AnswerFinish::timeout:
      return "timeout";
    case AnswerFinish::abort:
      return "abort";
    case AnswerFinish::error:
      return "error";
  }
  return "";
}

}  // namespace strata
