// The smallest tokenizer.json of a byte-level BPE, for tests to build on.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "text/utf8.h"

namespace strata {

/// 256 tokens, each byte being its own id, no merges; ByteLevel with GPT-2's pattern.
inline Json byte_level_json() {
  Json vocab = Json::object();
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    std::string name;
    append_utf8(is_itself ? byte : next++, name);
    vocab[name] = static_cast<int>(byte);
  }
  return {{"added_tokens", Json::array()},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
}

inline void add_vocab(Json& json, const std::string& name, std::int64_t id) { json["model"]["vocab"][name] = id; }

/// A special token that is looked for in the text as it is, unless `flags` say otherwise.
inline void add_token(Json& json, int id, const std::string& content, const Json& flags = Json::object()) {
  Json token = {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
  for (const auto& [key, value] : flags.items()) token[key] = value;
  json["added_tokens"].push_back(token);
}

}  // namespace strata
