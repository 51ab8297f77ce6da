// Says which tokens an answer may have next: grammars, schemas, budgets.
#pragma once

#include <cstdint>
#include <span>

#include "base/token.h"

namespace strata {

/// Says which tokens may come next. The engine calls it on its own thread, in order: `restrict` once before a token is
/// chosen, `accept` once after. What it throws fails its request and no other.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Clears the bits of tokens that may not come next; true if it cleared any. Token t is bit t % 32 of word t / 32;
  /// `allowed` comes with the bits of all tokens set that the constraints before it have left, bits past the vocabulary
  /// are 0. Must leave at least one of those that it found set unless it can't: then the request fails.
  virtual bool restrict(std::span<std::uint32_t> allowed) = 0;
  /// The token that was chosen.
  virtual void accept(TokenId token) = 0;
};

/// Words of a mask over `vocab` tokens.
constexpr std::size_t mask_words(std::int64_t vocab) { return static_cast<std::size_t>((vocab + 31) / 32); }

}  // namespace strata
