#include "text/tokenizer.h"

#include <array>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "text/byte_level.h"
#include "text/tokenizer_file.h"
#include "text/tokenizer_model.h"
#include "text/utf8.h"

namespace strata {
namespace {

constexpr std::int64_t kMaxFileBytes = 256 << 20;

/// The field, or null if there is none.
Json take_field(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() ? Json() : *found;
}

void check_model(const Json& model, const std::string& what) {
  if (!model.is_object()) refuse_field(what, "an object", model.type_name());
  if (model.contains("type") && type_field(model, what) != "BPE")
    refuse_field(what, "type BPE", type_field(model, what) + ", which is not supported");
  for (const char* name : {"vocab", "merges"})
    if (model.contains(name))
      refuse_field(what + "." + name, "an object of ids or an array of pairs", "something else");
  if (bool_field(model, "byte_fallback", false, what)) refuse_field(what, "no byte_fallback", "it");
  const Json dropout = take_field(model, "dropout");
  if (!dropout.is_null() && dropout != 0) refuse_field(what, "no dropout", dropout.dump());
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json affix = take_field(model, name);
    if (!affix.is_null() && affix != "") refuse_field(what, std::string("no ") + name, affix.dump());
  }
}

void check_decoder(const Json& decoder, const std::string& what) {
  if (decoder.is_null()) return;
  const std::string type = type_field(decoder, what);
  if (type == "ByteLevel" || type == "Fuse") return;
  if (type != "Sequence") refuse_field(what, "type ByteLevel, Fuse or a Sequence of these", type);
  for (const Json& part : array_field(decoder, "decoders", what)) check_decoder(part, what);
}

std::vector<AddedToken> parse_added_tokens(const Json& json, const std::string& what) {
  std::vector<AddedToken> tokens;
  if (json.is_null()) return tokens;
  if (!json.is_array()) refuse_field(what, "an array", json.type_name());
  for (const Json& entry : json) {
    AddedToken token;
    token.content = string_field(entry, "content", what);
    const Json id = take_field(entry, "id");
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > INT32_MAX)
      refuse_field(what, "an id for \"" + token.content + "\"", id.dump());
    if (token.content.empty()) refuse_field(what, "a content for the id " + id.dump(), "none");
    token.id = id.get<TokenId>();
    token.special = bool_field(entry, "special", false, what);
    token.single_word = bool_field(entry, "single_word", false, what);
    token.lstrip = bool_field(entry, "lstrip", false, what);
    token.rstrip = bool_field(entry, "rstrip", false, what);
    token.normalized = bool_field(entry, "normalized", !token.special, what);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

BpeMergeTable resolve_merges(const TokenizerFile& file, const Vocabulary& vocabulary, const std::string& what) {
  BpeMergeTable table(file.merges.size());
  for (std::size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto& [left, right] = file.merges[rank];
    const auto require = [&](std::optional<TokenId> id, const std::string& name) {
      if (!id)
        refuse_field(what + "[" + std::to_string(rank) + "]", "tokens of model.vocab",
                     "\"" + name + "\", which is not in it");
      return *id;
    };
    const auto left_bytes = bytes_of_byte_level(left), right_bytes = bytes_of_byte_level(right);
    if (!left_bytes || !right_bytes) {
      // Written in other characters than bytes are, so no text ever comes to this pair.
      for (const std::string& name : {left, right, left + right}) require(vocabulary.find(name), name);
      continue;
    }
    const TokenId left_id = require(vocabulary.find_bytes(*left_bytes), left);
    const TokenId right_id = require(vocabulary.find_bytes(*right_bytes), right);
    const TokenId result = require(vocabulary.find_bytes(*left_bytes + *right_bytes), left + right);
    // Text is to become a special token by its name as a whole or not at all.
    if (!vocabulary.is_special(result)) table.insert(left_id, right_id, {static_cast<std::uint32_t>(rank), result});
  }
  return table;
}

std::array<TokenId, 256> find_byte_tokens(const Vocabulary& vocabulary, const std::string& what) {
  std::array<TokenId, 256> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto token = vocabulary.find_bytes({&c, 1});
    if (!token || vocabulary.is_special(*token))
      refuse_field(what, "a token for each of the 256 bytes (byte-level BPE)",
                   (token ? "a special one for the byte " : "none for the byte ") + std::to_string(byte));
    tokens[static_cast<std::size_t>(byte)] = *token;
  }
  return tokens;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Model> model) : model_(std::move(model)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::error_code ignored;  // what is no readable folder is read_text's to refuse
  const auto file = std::filesystem::is_directory(path, ignored) ? path / "tokenizer.json" : path;
  return parse(read_text(file, kMaxFileBytes), file.string());
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view what_view) {
  const std::string what(what_view);
  const TokenizerFile file = read_tokenizer_file(tokenizer_json, what);
  if (!file.rest.is_object()) refuse_field(what, "an object", file.rest.type_name());
  const auto field = [&](std::string_view key) { return take_field(file.rest, key); };
  const auto place = [&](std::string_view key) { return what + ": " + std::string(key); };

  check_model(field("model"), place("model"));
  check_decoder(field("decoder"), place("decoder"));
  const auto added = parse_added_tokens(field("added_tokens"), place("added_tokens"));
  auto vocabulary = std::make_unique<const Vocabulary>(file.vocab, added, what);
  const auto byte_tokens = find_byte_tokens(*vocabulary, place("model.vocab"));
  Normalizer normalizer = Normalizer::parse(field("normalizer"), place("normalizer"));
  PreTokenizer pre_tokenizer = PreTokenizer::parse(field("pre_tokenizer"), place("pre_tokenizer"));
  PostProcessor post_processor = PostProcessor::parse(field("post_processor"), *vocabulary, place("post_processor"));

  std::vector<AddedTokenMatcher::Pattern> raw, normalized;
  for (const AddedToken& token : added) {
    if (token.normalized) {
      normalized.push_back({normalizer.normalize(token.content), token});
    } else {
      raw.push_back({token.content, token});
    }
  }
  Facts facts{normalizer.name(), pre_tokenizer.description(), static_cast<std::int64_t>(file.merges.size()),
              static_cast<std::int64_t>(added.size()), !post_processor.before.empty()};
  Bpe bpe(byte_tokens, resolve_merges(file, *vocabulary, place("model.merges")));
  const bool ignore_merges = bool_field(field("model"), "ignore_merges", false, place("model"));
  return Tokenizer(std::unique_ptr<const Model>(
      new Model{AddedTokenMatcher(std::move(raw)), std::move(normalizer), AddedTokenMatcher(std::move(normalized)),
                std::move(pre_tokenizer), ignore_merges, std::move(bpe), std::move(post_processor),
                std::move(vocabulary), std::move(facts)}));
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string text;
  for (const TokenId id : ids)
    if (!skip_special || !is_special(id)) text += bytes(id);
  return valid_utf8_prefix(text) == text.size() ? text : replace_invalid_utf8(text);
}

std::string_view Tokenizer::bytes(TokenId id) const { return model_->vocabulary->bytes(id); }
bool Tokenizer::is_special(TokenId id) const { return model_->vocabulary->is_special(id); }
bool Tokenizer::is_added(TokenId id) const { return model_->vocabulary->is_added(id); }
std::optional<TokenId> Tokenizer::find(std::string_view name) const { return model_->vocabulary->find(name); }
std::int64_t Tokenizer::vocab_size() const { return model_->vocabulary->size(); }
const Tokenizer::Facts& Tokenizer::facts() const { return model_->facts; }

}  // namespace strata
