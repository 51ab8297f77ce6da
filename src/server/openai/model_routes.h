// The small routes of the model and its tokens: /v1/models, /props, /tokenize, /detokenize, /apply-template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "server/generation/generator.h"
#include "server/openai/request_options.h"

namespace strata {

/// What the server tells about its model.
struct ModelCard {
  std::int64_t created = 0;     // Unix seconds, of the model's folder or of the start
  std::int64_t parameters = 0;  // in all
  std::int64_t weight_bytes = 0;
  std::int64_t longest_context = 0;  // that the model was made for
  std::int64_t parallel = 1;         // sequences that run at a time
  std::string architecture, version;
};

/// {"object": "list", "data": [{"id", "object", "created", "owned_by", "max_model_len", "meta", "capabilities"}]}, the
/// served name and each alias.
Json models_json(const ModelCard& card, const Generator& generator, const RequestOptions& options);
/// One of them. Throws ApiError{404} if `id` is none.
Json model_json(std::string_view id, const ModelCard& card, const Generator& generator, const RequestOptions& options);
/// llama-server's /props as far as it applies: n_ctx, total_slots, chat_template, model alias, default sampling.
Json props_json(const ModelCard& card, const Generator& generator, const ChatTemplate* chat_template,
                const RequestOptions& options);

/// {"content" | "prompt" | "messages", "add_special" (true), "with_pieces" (false)} to {"tokens", "count",
/// "max_model_len"}; with_pieces: tokens are {"id", "piece"}, a piece that is no UTF-8 an array of its bytes. Throws
/// ApiError.
Json tokenize_json(std::string_view body, const Generator& generator, const RequestOptions& options);
/// {"tokens": [ids]} to {"content", "prompt"}: the same text under llama-server's and vLLM's name. Throws ApiError.
Json detokenize_json(std::string_view body, const Generator& generator, const RequestOptions& options);
/// {"messages", "tools", "chat_template_kwargs", "add_generation_prompt"} to {"prompt", "tokens", "segments": [{"text",
/// "from_input"}]}. Throws ApiError.
Json apply_template_json(std::string_view body, const Generator& generator, const RequestOptions& options);

/// JSON as it is sent: invalid UTF-8, which no string of ours has, would become U+FFFD rather than throw.
std::string dump(const Json& json);

}  // namespace strata
