// Byte pair encoding: words to token ids by ranked merges.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace strata {

/// What a pair of neighbouring tokens merges to; lower ranks merge first.
struct BpeMerge {
  std::uint32_t rank;
  TokenId result;
};

/// The merges by pair: open addressing with linear probing, for it is asked several times for each byte of a text.
class BpeMergeTable {
 public:
  explicit BpeMergeTable(std::size_t expected_size);
  /// A pair that comes again takes the later rank, as in Hugging Face `tokenizers`.
  void insert(TokenId left, TokenId right, BpeMerge merge);
  const BpeMerge* find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    std::uint64_t key;
    BpeMerge merge;
  };
  std::size_t slot_of(std::uint64_t key) const;
  int shift_;
  std::vector<Slot> slots_;  // a power of two of them, at most half of them taken
};

/// Byte-level BPE (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units"; over bytes: GPT-2).
class Bpe {
 public:
  /// `byte_tokens`: the token of each byte.
  Bpe(std::span<const TokenId, 256> byte_tokens, BpeMergeTable merges);

  /// Appends the tokens of `word`: of all possible merges the one of lowest rank, of equal ones the leftmost, is
  /// applied until none is left. O(n log n) for long words.
  void encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  void encode_short(std::string_view word, std::vector<TokenId>& out) const;
  void encode_long(std::string_view word, std::vector<TokenId>& out) const;

  std::vector<TokenId> byte_tokens_;
  BpeMergeTable merges_;
};

}  // namespace strata
