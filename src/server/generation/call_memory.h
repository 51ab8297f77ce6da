// How the model wrote the calls that it made, so that they stand in later prompts as it wrote them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "server/generation/answer_parser.h"
#include "text/tokenizer.h"

namespace strata {

/// A call as it was answered and as it was written.
struct WrittenCall {
  std::string id, name, arguments;  // arguments: JSON text
  std::vector<TokenId> tokens;      // between <tool_call> and </tool_call>
};

/// Clients send a call back as JSON, and a template renders that with blanks, an order and a form of numbers of its
/// own: other tokens than those that the model's state has seen. The ids of calls are the server's, so they say which
/// call is meant. The last calls are kept, up to a number of bytes. Thread-safe.
class CallMemory {
 public:
  explicit CallMemory(std::size_t most_bytes = 16 << 20) : most_bytes_(most_bytes) {}

  void remember(WrittenCall call);

  /// Puts the calls of `messages` (OpenAI's) that are remembered, and are the same, into `tokens`, their rendering, in
  /// place of the template's. `places`, ascending, each 0 or behind a special token of `tokens`, move with what is
  /// before them. Where the rendering doesn't show as many calls as there are, nothing is changed.
  void replay(const Json& messages, const Tokenizer& tokenizer, const Marks& marks, std::vector<TokenId>& tokens,
              std::vector<std::int64_t>& places) const;

 private:
  using Calls = std::list<WrittenCall>;
  /// The tokens of a message's call; empty if it isn't known, or isn't what was answered.
  std::vector<TokenId> find(const Json& call) const;

  const std::size_t most_bytes_;
  mutable std::mutex mutex_;
  mutable Calls recent_;  // the last used first
  mutable std::unordered_map<std::string_view, Calls::iterator> by_id_;
  std::size_t bytes_ = 0;
};

}  // namespace strata
