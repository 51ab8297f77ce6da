// What a Tokenizer is made of.
#pragma once

#include <memory>
#include <string>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace strata {

/// A text goes through these from top to bottom.
struct Tokenizer::Model {
  AddedTokenMatcher added;  // those to find in the text as it is
  Normalizer normalizer;
  AddedTokenMatcher normalized_added;  // those to find in the normalised text
  PreTokenizer pre_tokenizer;
  bool ignore_merges;  // a word that is a token is that token, whether or not merges lead to it
  Bpe bpe;
  PostProcessor post_processor;

  std::unique_ptr<const Vocabulary> vocabulary;
  Facts facts;
};

}  // namespace strata
