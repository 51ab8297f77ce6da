#include "apps/self_check.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "validation/model_runner.h"

namespace strata {

std::string self_check(const Model& model, Backend& backend, DType kv_type) {
  const std::int64_t tokens = std::min<std::int64_t>(49, model.max_context()), chunk = 16;
  ModelRunner runner(model, backend, {.tokens = tokens, .sequences = 2, .context = tokens, .kv_type = kv_type});
  std::vector<TokenId> prompt;
  for (std::int64_t i = 0; i < tokens; ++i) prompt.push_back(static_cast<TokenId>((i * 7919 + 3) % model.vocab_size()));
  Logits whole, chunked;
  {
    SequenceState state = runner.fresh();
    whole = runner.feed(state, prompt, tokens);
  }
  {
    SequenceState state = runner.fresh();
    chunked = runner.feed(state, prompt, chunk);
  }
  const std::string what = std::to_string(tokens) + " tokens in chunks of " + std::to_string(chunk) + " and whole";
  const bool finite = std::all_of(whole.values.begin(), whole.values.end(), [](float x) { return std::isfinite(x); });
  if (!finite || !whole.same_bits(chunked)) {
    throw Error(ErrorCode::gate_failed,
                "self-check: " + what + (finite ? " have different logits" : " have logits that are no numbers") +
                    "; run strata validate on this model, and report it with --isa portable tried");
  }
  return what;
}

}  // namespace strata
