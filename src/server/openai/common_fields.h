// What the requests of both APIs have in common.
#pragma once

#include "server/openai/chat_request.h"
#include "server/openai/field_reader.h"

namespace strata {

/// model, sampling, stops, n, stream, priority, timeout and their like into `out`. Throws ApiError.
void read_common_fields(FieldReader& request, const RequestOptions& options, ApiRequest& out);

/// max_tokens and max_completion_tokens: the smaller. `least`: the smallest that may be asked for.
std::optional<std::int64_t> read_max_tokens(FieldReader& request, std::int64_t least);

/// response_format and structured_outputs, which must not both be there.
ResponseForm read_response_form(FieldReader& request, const RequestLimits& limits);

}  // namespace strata
