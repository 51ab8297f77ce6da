// Encoding: the way of a text through the parts of a Tokenizer::Model.
#include <algorithm>
#include <bit>
#include <deque>
#include <utility>

#include "base/error.h"
#include "text/hash.h"
#include "text/tokenizer.h"
#include "text/tokenizer_model.h"
#include "text/utf8.h"

namespace strata {
namespace {

// Normalisation makes a text at most eleven times as long (U+FDFA), so that tokens can be counted in 32 bits.
constexpr std::size_t kMaxTextBytes = std::size_t{1} << 28;

void check_size(std::size_t bytes) {
  if (bytes > kMaxTextBytes)
    throw Error(ErrorCode::usage, "expected a text of at most " + std::to_string(kMaxTextBytes) +
                                      " bytes to tokenize, found " + std::to_string(bytes));
}

/// The words that a text has had so far, each with the place of its tokens among those already written: most words of
/// a text come again. One place a word: a collision forgets the older one, so no text can make it slow.
class WordCache {
 public:
  struct Tokens {
    std::uint32_t begin, count;
  };

  explicit WordCache(std::size_t text_size)
      : entries_(std::bit_ceil(std::clamp<std::size_t>(text_size / 8, 16, 1 << 14))) {}

  /// Returns the tokens of an equal word, if it knows one; else makes room for `word`, whose bytes have to stay.
  std::optional<Tokens> find_or_claim(std::string_view word, Tokens*& room) {
    Entry& entry = entries_[hash_bytes(word) & (entries_.size() - 1)];
    if (entry.word == word) return entry.tokens;
    entry.word = word;
    room = &entry.tokens;
    return std::nullopt;
  }

 private:
  struct Entry {
    std::string_view word;
    Tokens tokens;
  };
  std::vector<Entry> entries_;
};

}  // namespace

/// One call of encode.
class Tokenizer::Encoder {
 public:
  /// `text` must be valid UTF-8 and stay. `accept`: where added tokens may be. `spans`: may be null.
  Encoder(const Model& model, std::string_view text, AddedTokenMatcher::Accept accept, std::vector<TokenSpan>* spans)
      : model_(model),
        text_(text),
        accept_(std::move(accept)),
        spans_(spans),
        splitter_(model.pre_tokenizer),
        cache_(text.size()) {
    ids_.reserve(text.size() / 4);
  }

  std::vector<TokenId> run() {
    for (const auto& part : model_.added.split(text_, accept_)) {
      if (part.token) {
        add_token(*part.token, part.begin, part.end);
      } else {
        encode_plain(part.begin, part.end);
      }
    }
    return std::move(ids_);
  }

 private:
  void add_token(TokenId id, std::size_t begin, std::size_t end) {
    ids_.push_back(id);
    if (spans_ != nullptr) spans_->push_back({id, begin, end});
  }

  /// A stretch of text_ without those added tokens that are looked for before normalisation.
  void encode_plain(std::size_t begin, std::size_t end) {
    std::string_view text = text_.substr(begin, end - begin);
    Alignment alignment;
    const bool wants_alignment = spans_ != nullptr || (accept_ && !model_.normalized_added.empty());
    if (!model_.normalizer.empty())
      text = kept_.emplace_back(model_.normalizer.normalize(text, wants_alignment ? &alignment : nullptr));
    const auto origin = [&](std::size_t from, std::size_t to) {
      return std::pair(begin + alignment.begin_before(from), begin + alignment.end_before(to));
    };
    AddedTokenMatcher::Accept accept;
    if (accept_)
      accept = [&](std::size_t from, std::size_t to) {
        const auto [origin_begin, origin_end] = origin(from, to);
        return accept_(origin_begin, origin_end);
      };
    for (const auto& part : model_.normalized_added.split(text, accept)) {
      if (part.token) {
        const auto [origin_begin, origin_end] = origin(part.begin, part.end);
        add_token(*part.token, origin_begin, origin_end);
      } else {
        encode_words(text.substr(part.begin, part.end - part.begin), part.begin, origin);
      }
    }
  }

  /// `text`: a normalised stretch without any added tokens, `offset`: where `origin` has it begin.
  template <typename Origin>
  void encode_words(std::string_view text, std::size_t offset, const Origin& origin) {
    std::size_t prefix = 0;
    if (model_.pre_tokenizer.add_prefix_space() && text.front() != ' ') {
      text = kept_.emplace_back(" " + std::string(text));
      prefix = 1;
    }
    splitter_.split(text, [&](PreTokenizer::Word word) {
      const std::size_t first = ids_.size();
      encode_word(text.substr(word.begin, word.end - word.begin));
      if (spans_ == nullptr) return;
      std::size_t at = word.begin;
      for (std::size_t i = first; i < ids_.size(); ++i) {
        const std::size_t next = at + model_.vocabulary->bytes(ids_[i]).size();
        const auto [begin, end] = origin(offset + std::max(at, prefix) - prefix, offset + next - prefix);
        spans_->push_back({ids_[i], begin, end});
        at = next;
      }
    });
  }

  void encode_word(std::string_view word) {
    WordCache::Tokens* room = nullptr;
    if (const auto known = cache_.find_or_claim(word, room)) {
      const std::size_t old = ids_.size();
      ids_.resize(old + known->count);
      std::copy_n(ids_.begin() + known->begin, known->count, ids_.begin() + static_cast<std::ptrdiff_t>(old));
      return;
    }
    const std::size_t first = ids_.size();
    const auto whole = model_.ignore_merges ? model_.vocabulary->find_bytes(word) : std::nullopt;
    if (whole && !model_.vocabulary->is_special(*whole)) {
      ids_.push_back(*whole);
    } else {
      model_.bpe.encode(word, ids_);
    }
    *room = {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(ids_.size() - first)};
  }

  const Model& model_;
  std::string_view text_;
  AddedTokenMatcher::Accept accept_;
  std::vector<TokenSpan>* spans_;
  PreTokenizer::Splitter splitter_;
  WordCache cache_;
  std::deque<std::string> kept_;  // the changed texts that the cache's words lie in
  std::vector<TokenId> ids_;
};

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  check_size(text.size());
  std::string repaired;
  if (valid_utf8_prefix(text) != text.size()) text = repaired = replace_invalid_utf8(text);
  std::vector<TokenId> ids = Encoder(*model_, text, nullptr, nullptr).run();
  if (options.post_process) {
    const auto& [before, after] = model_->post_processor;
    ids.insert(ids.begin(), before.begin(), before.end());
    ids.insert(ids.end(), after.begin(), after.end());
  }
  return ids;
}

std::vector<TokenId> Tokenizer::encode(std::span<const TextSegment> segments) const {
  std::string text;
  // The stretches that the template wrote; those of neighbouring segments are one.
  struct Stretch {
    std::size_t begin, end;
  };
  std::vector<Stretch> from_template;
  for (const TextSegment& segment : segments) {
    const std::size_t begin = text.size();
    text += replace_invalid_utf8(segment.text);
    check_size(text.size());
    if (segment.from_input || begin == text.size()) continue;
    if (!from_template.empty() && from_template.back().end == begin) {
      from_template.back().end = text.size();
    } else {
      from_template.push_back({begin, text.size()});
    }
  }
  const auto accept = [&](std::size_t begin, std::size_t end) {
    const auto after = std::upper_bound(from_template.begin(), from_template.end(), begin,
                                        [](std::size_t at, const Stretch& stretch) { return at < stretch.begin; });
    return after != from_template.begin() && end <= std::prev(after)->end;
  };
  return Encoder(*model_, text, accept, nullptr).run();
}

std::vector<Tokenizer::TokenSpan> Tokenizer::encode_with_offsets(std::string_view text, EncodeOptions options) const {
  check_size(text.size());
  Alignment alignment;
  std::string repaired;
  std::string_view valid = text;
  if (valid_utf8_prefix(text) != text.size()) valid = repaired = replace_invalid_utf8(text, &alignment);

  std::vector<TokenSpan> spans;
  if (options.post_process)
    for (const TokenId id : model_->post_processor.before) spans.push_back({id, 0, 0});
  const std::size_t first = spans.size();
  Encoder(*model_, valid, nullptr, &spans).run();
  for (std::size_t i = first; i < spans.size(); ++i)
    spans[i] = {spans[i].id, alignment.begin_before(spans[i].begin), alignment.end_before(spans[i].end)};
  if (options.post_process)
    for (const TokenId id : model_->post_processor.after) spans.push_back({id, text.size(), text.size()});
  return spans;
}

}  // namespace strata
