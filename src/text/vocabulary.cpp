#include "text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/hash.h"

namespace strata {
namespace {

// 16 times the largest vocabulary known; a table over all ids stays small whatever a file says.
constexpr std::int64_t kMaxId = (std::int64_t{1} << 22) - 1;
constexpr TokenId kNone = -1;

}  // namespace

Vocabulary::Vocabulary(const Entries& names, const std::vector<AddedToken>& added, std::string_view what) {
  const auto fail = [&](const std::string& why) -> Error {
    return {ErrorCode::bad_model, std::string(what) + ": " + why};
  };
  std::int64_t largest = -1;
  const auto check_id = [&](const std::string& name, std::int64_t id) {
    if (id < 0 || id > kMaxId)
      throw fail("expected ids from 0 to " + std::to_string(kMaxId) + ", found " + std::to_string(id) + " for \"" +
                 name + "\"");
    largest = std::max(largest, id);
  };
  for (const auto& [name, id] : names) check_id(name, id);
  for (const AddedToken& token : added) check_id(token.content, token.id);
  tokens_.resize(static_cast<std::size_t>(largest + 1));

  std::vector<TokenId> byte_level;  // the tokens with bytes to be found by
  for (const auto& [name, id] : names) {
    const auto token = static_cast<TokenId>(id);
    if (tokens_[static_cast<std::size_t>(token)].exists)
      throw fail("model.vocab has the id " + std::to_string(id) + " twice, the second time for \"" + name + "\"");
    const auto bytes = bytes_of_byte_level(name);
    set(token, bytes ? *bytes : name);
    if (bytes) {
      byte_level.push_back(token);
    } else if (!ids_by_name_.emplace(name, token).second) {
      throw fail("model.vocab has \"" + name + "\" twice");
    }
  }
  ids_by_bytes_.assign(std::bit_ceil(2 * byte_level.size() + 1), kNone);
  for (const TokenId token : byte_level) {
    TokenId& slot = ids_by_bytes_[slot_of(bytes(token))];
    if (slot != kNone) throw fail("model.vocab has the token " + std::to_string(token) + " twice");
    slot = token;
  }

  for (const AddedToken& token : added) {
    const auto known = find(token.content);
    Token& slot = tokens_[static_cast<std::size_t>(token.id)];
    if (known ? *known != token.id : slot.exists)
      throw fail("added_tokens gives the id " + std::to_string(token.id) + " to \"" + token.content +
                 "\", expected what the rest of the file says: " +
                 (known ? "the token has the id " + std::to_string(*known) : "the id is taken"));
    set(token.id, token.content);
    slot.is_special |= token.special;
    slot.is_added = true;
    ids_by_name_.emplace(token.content, token.id);
  }
}

void Vocabulary::set(TokenId id, std::string_view bytes) {
  Token& token = tokens_[static_cast<std::size_t>(id)];
  token.begin = bytes_.size();
  token.size = bytes.size();
  token.exists = true;
  bytes_ += bytes;
}

std::string_view Vocabulary::bytes(TokenId id) const {
  if (id < 0 || id >= size()) return {};
  const Token& token = tokens_[static_cast<std::size_t>(id)];
  return std::string_view(bytes_).substr(token.begin, token.size);
}

bool Vocabulary::is_special(TokenId id) const {
  return id >= 0 && id < size() && tokens_[static_cast<std::size_t>(id)].is_special;
}

bool Vocabulary::is_added(TokenId id) const {
  return id >= 0 && id < size() && tokens_[static_cast<std::size_t>(id)].is_added;
}

std::optional<TokenId> Vocabulary::find(std::string_view name) const {
  if (const auto found = ids_by_name_.find(std::string(name)); found != ids_by_name_.end()) return found->second;
  const auto bytes = bytes_of_byte_level(name);
  return bytes ? find_bytes(*bytes) : std::nullopt;
}

std::size_t Vocabulary::slot_of(std::string_view bytes) const {
  const std::size_t mask = ids_by_bytes_.size() - 1;
  std::size_t slot = hash_bytes(bytes) & mask;
  while (ids_by_bytes_[slot] != kNone && this->bytes(ids_by_bytes_[slot]) != bytes) slot = (slot + 1) & mask;
  return slot;
}

std::optional<TokenId> Vocabulary::find_bytes(std::string_view bytes) const {
  const TokenId id = ids_by_bytes_[slot_of(bytes)];
  return id == kNone ? std::nullopt : std::optional(id);
}

}  // namespace strata
