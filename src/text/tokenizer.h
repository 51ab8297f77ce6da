// Text to tokens and back, by a model's tokenizer.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "text/segment.h"

namespace strata {

struct EncodeOptions {
  bool post_process = true;  // add what the post-processor adds, as a BOS
};

/// A byte-level BPE tokenizer that gives the ids which Hugging Face `tokenizers` gives for the same tokenizer.json;
/// what it does not know it refuses by name when it loads. Movable; const use is thread-safe.
///
/// Invalid UTF-8 in a text is read as U+FFFD, one for each maximal invalid part. Truncation and padding are ignored.
class Tokenizer {
 public:
  /// `path`: a model folder or a tokenizer.json. Throws Error{bad_model} naming the file, the field, what was expected
  /// and what was found.
  static Tokenizer load(const std::filesystem::path& path);
  /// `what` names the JSON in errors.
  static Tokenizer parse(std::string_view tokenizer_json, std::string_view what);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  using EncodeOptions = strata::EncodeOptions;
  /// Added tokens written in the text are recognised. This and the other encoders throw Error{failure} if the
  /// pre-tokenizer's pattern takes too much backtracking on the text.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;

  /// A rendered prompt: added tokens are recognised in template segments only, and what a request wrote never becomes a
  /// special token. All else is as if the segments were one text: words and merges cross their borders. Adds nothing.
  std::vector<TokenId> encode(std::span<const TextSegment> segments) const;

  struct TokenSpan {
    TokenId id;
    std::size_t begin, end;  // bytes of the text
    friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
  };
  /// encode() with what each token was made of. A stretch that normalisation changed counts as a whole for each token
  /// that has part in it; what the post-processor adds is empty.
  std::vector<TokenSpan> encode_with_offsets(std::string_view text, EncodeOptions options = {}) const;

  /// The tokens' bytes as valid UTF-8, with U+FFFD for what is invalid; an unknown id has none.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;

  /// The exact bytes of a token, of an added one its name; empty for an unknown id.
  std::string_view bytes(TokenId id) const;
  bool is_special(TokenId id) const;
  /// Whether it is one of `added_tokens`: special ones and others that text is searched for before it is split.
  bool is_added(TokenId id) const;
  /// By the name in tokenizer.json, e.g. "<|im_end|>" or "Ġthe".
  std::optional<TokenId> find(std::string_view name) const;
  /// The largest id plus one.
  std::int64_t vocab_size() const;

  /// For a person to read.
  struct Facts {
    std::string normalizer;     // "none", "NFC", ...
    std::string pre_tokenizer;  // the steps and their patterns
    std::int64_t merges;
    std::int64_t added_tokens;
    bool adds_bos;  // the post-processor puts something before a text
  };
  const Facts& facts() const;

 private:
  struct Model;
  class Encoder;
  explicit Tokenizer(std::unique_ptr<const Model> model);
  std::unique_ptr<const Model> model_;
};

}  // namespace strata
