#include "text/post_processor.h"

#include <string>

#include "text/tokenizer_file.h"

namespace strata {
namespace {

/// The ids of the special token `name` of a TemplateProcessing.
std::vector<TokenId> special_ids(const Json& processor, const std::string& name, const Vocabulary& vocabulary,
                                 std::string_view what) {
  const auto specials = processor.find("special_tokens");
  if (specials == processor.end() || !specials->is_object() || !specials->contains(name))
    refuse_field(what, "\"" + name + "\" in special_tokens", "none");
  std::vector<TokenId> ids;
  for (const Json& id : array_field((*specials)[name], "ids", what)) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(vocabulary.size()))
      refuse_field(what, "ids of the vocabulary for \"" + name + "\"", id.dump());
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

PostProcessor parse_template(const Json& json, const Vocabulary& vocabulary, std::string_view what) {
  PostProcessor result;
  bool text_seen = false;
  for (const Json& piece : array_field(json, "single", what)) {
    if (piece.is_object() && piece.contains("Sequence")) {
      const std::string id = string_field(piece["Sequence"], "id", what);
      if (text_seen || id != "A") refuse_field(what, "the sequence A once in the template", id + " besides");
      text_seen = true;
    } else if (piece.is_object() && piece.contains("SpecialToken")) {
      const std::string name = string_field(piece["SpecialToken"], "id", what);
      auto& side = text_seen ? result.after : result.before;
      for (const TokenId id : special_ids(json, name, vocabulary, what)) side.push_back(id);
    } else {
      refuse_field(what, "a Sequence or a SpecialToken in the template", piece.dump());
    }
  }
  if (!text_seen) refuse_field(what, "the sequence A in the template", "none");
  return result;
}

}  // namespace

PostProcessor PostProcessor::parse(const Json& json, const Vocabulary& vocabulary, std::string_view what) {
  if (json.is_null()) return {};
  const std::string type = type_field(json, what);
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return parse_template(json, vocabulary, what);
  if (type != "Sequence") refuse_field(what, "type ByteLevel, TemplateProcessing or a Sequence of these", type);
  PostProcessor result;
  for (const Json& part : array_field(json, "processors", what)) {
    const PostProcessor outer = parse(part, vocabulary, what);  // it sees what those before it made of the text
    result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
    result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
  }
  return result;
}

}  // namespace strata
