// The tokens of a model: their ids, their bytes, their names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/token.h"

namespace strata {

/// An entry of `added_tokens` in tokenizer.json; the flags are explained at AddedTokenMatcher.
struct AddedToken {
  TokenId id;
  std::string content;
  bool single_word, lstrip, rstrip, normalized;
  bool special;  // a mark for the model, no text
};

class Vocabulary {
 public:
  using Entries = std::vector<std::pair<std::string, std::int64_t>>;

  /// `names`: `model.vocab`, in the byte-level alphabet. Throws Error{bad_model} that begins with `what` if ids are
  /// out of range or contradict each other.
  Vocabulary(const Entries& names, const std::vector<AddedToken>& added, std::string_view what);

  /// The largest id plus one.
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  /// The exact bytes; of an added token, and of one whose name is not in the byte-level alphabet, its name.
  std::string_view bytes(TokenId id) const;
  bool is_special(TokenId id) const;
  bool is_added(TokenId id) const;
  /// By name, of an added token as it is, of another in the byte-level alphabet.
  std::optional<TokenId> find(std::string_view name) const;
  /// By bytes, of the tokens with a name in the byte-level alphabet.
  std::optional<TokenId> find_bytes(std::string_view bytes) const;

 private:
  struct Token {
    std::size_t begin = 0, size = 0;  // in bytes_
    bool exists = false;
    bool is_special = false;
    bool is_added = false;
  };
  void set(TokenId id, std::string_view bytes);
  /// Where `bytes` stand in ids_by_bytes_, or would stand.
  std::size_t slot_of(std::string_view bytes) const;

  std::string bytes_;  // of all tokens
  std::vector<Token> tokens_;
  std::vector<TokenId> ids_by_bytes_;  // of names in the byte-level alphabet, by hash, with linear probing
  std::unordered_map<std::string, TokenId> ids_by_name_;  // of other names and of added tokens
};

}  // namespace strata
