// A tokenizer's vocabulary by the bytes of its tokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/token.h"
#include "server/constrained/string_shape.h"
#include "text/tokenizer.h"

namespace strata {

/// Texts in which nearly everything may stand: a JSON string after its opening quote, and an argument of a tool call.
enum class TextKind : std::uint8_t { string, raw };

/// The tokens that are text, as two trees of their bytes laid out depth first: those of ordinary characters only, which
/// may stand in any string, and the others. Added tokens (turns, tools, thinking) are in neither: a text never makes
/// one. Immutable.
class TokenTrie {
 public:
  struct Node {
    std::uint32_t next;         // the first node that is not below this one
    std::uint32_t first_token;  // in tokens()
    std::uint16_t token_count;
    std::uint16_t depth;  // bytes from the root to here, at least 1
    std::uint8_t byte;
  };
  using Tree = std::vector<Node>;

  explicit TokenTrie(const Tokenizer& tokenizer);
  /// For any tokens; `vocab`: the largest id plus one.
  TokenTrie(std::vector<std::pair<std::string, TokenId>> tokens, std::int64_t vocab);

  std::int64_t vocab_size() const { return vocab_size_; }
  /// Tokens of whole UTF-8 characters but '"', '\\' and control characters.
  const Tree& ordinary() const { return ordinary_; }
  const Tree& others() const { return others_; }
  /// Sets the bits of the tokens of ordinary() that have at most so many code points.
  void allow_ordinary(std::uint32_t most_characters, std::span<std::uint32_t> mask) const;
  /// What tokens are to a text of one kind, worked out once for all grammars.
  struct Slice {
    std::vector<std::uint32_t> inside;           // mask of those that stay in it, ordinary ones included
    std::vector<TokenId> others_inside, ending;  // of others(): those that stay in it, and that end with its end
    Tree beyond;                                 // those that end it before, by what comes after the end
  };
  const Slice& slice(TextKind kind) const { return slices_[static_cast<std::size_t>(kind)]; }
  /// Code points that a token of others() gives to a JSON string that it stays in or ends.
  std::uint32_t characters(TokenId token) const { return characters_[static_cast<std::size_t>(token)]; }
  const std::vector<TokenId>& tokens() const { return tokens_; }
  /// Of a token that is text; empty for others.
  std::string_view bytes(TokenId token) const;
  /// The bytes of the longest token.
  std::uint32_t longest() const { return longest_; }

 private:
  using Words = std::vector<std::pair<std::string, TokenId>>;
  void build(Words words);
  void order_by_length(const Words& words);
  Tree build_tree(const Words& words);
  template <typename Shape>
  Slice build_slice(const Words& words, const Shape& shape, TextState start);

  std::int64_t vocab_size_;
  std::uint32_t longest_ = 0;
  Tree ordinary_, others_;
  std::array<Slice, 2> slices_;
  std::vector<std::uint16_t> characters_;
  std::vector<TokenId> tokens_;
  std::vector<std::uint32_t> ordinary_mask_;
  std::vector<TokenId> ordinary_by_length_;                 // ascending in code points
  std::vector<std::size_t> ordinary_up_to_;                 // by code points: how many of these have no more
  std::string text_;                                        // the bytes of all tokens
  std::vector<std::pair<std::size_t, std::size_t>> spans_;  // of a token in text_: begin and size
};

}  // namespace strata
