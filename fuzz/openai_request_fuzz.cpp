// A body of any bytes becomes a request or is refused with 400 or 404; nothing else, whatever stands in it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "server/openai/api_error.h"
#include "server/openai/chat_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  strata::RequestOptions options;
  options.model_names = {"demo"};
  for (const bool strict : {false, true}) {
    options.strict_fields = strict;
    for (auto* read : {strata::read_chat_request, strata::read_completion_request}) {
      try {
        read(body, options);
      } catch (const strata::ApiError& error) {
        CHECK(error.status() == 400 || error.status() == 404, "a request is refused as the client's fault");
        CHECK(!error.body().dump().empty(), "the error can be sent");
      }
    }
  }
  return 0;
}
