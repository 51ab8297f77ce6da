#include "text/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace strata {
namespace {

// GPT-2's (Radford et al., encoder.py), which ByteLevel applies unless told otherwise.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

PreTokenizer PreTokenizer::parse(const Json& json, std::string_view what) {
  PreTokenizer result;
  if (json.is_null()) refuse_field(what, "a byte-level pre-tokenizer", "null");
  if (type_field(json, what) == "Sequence") {
    for (const Json& part : array_field(json, "pretokenizers", what)) result.add_step(part, what);
  } else {
    result.add_step(json, what);
  }
  if (!result.byte_level_) refuse_field(what, "a pre-tokenizer that ends with ByteLevel", "none");
  return result;
}

PreTokenizer::Behavior PreTokenizer::parse_behavior(const Json& json, std::string_view what) {
  const std::string name = string_field(json, "behavior", what);
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  refuse_field(what, "behavior Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous", name);
}

void PreTokenizer::describe(const std::string& step) { description_ += (description_.empty() ? "" : ", ") + step; }

void PreTokenizer::add_step(const Json& json, std::string_view what) {
  const std::string type = type_field(json, what);
  if (byte_level_) refuse_field(what, "ByteLevel as the last pre-tokenizer", type + " after it");
  if (type == "ByteLevel") return add_byte_level(json, what);
  if (type == "Split") {
    const auto pattern = json.find("pattern");
    if (pattern == json.end() || !pattern->is_object() || pattern->size() != 1 || !pattern->begin()->is_string())
      refuse_field(what, "a Split's pattern as {\"Regex\": ...} or {\"String\": ...}", "something else");
    const std::string kind = pattern->begin().key();
    const std::string value = pattern->begin()->get<std::string>();
    if (kind != "Regex" && kind != "String") refuse_field(what, "a pattern that is a Regex or a String", kind);
    steps_.push_back({Regex::compile(kind == "Regex" ? value : escape_regex(value), what), parse_behavior(json, what),
                      bool_field(json, "invert", false, what)});
    return describe("Split " + value);
  }
  if (type == "Digits") {
    const bool individual = bool_field(json, "individual_digits", false, what);
    steps_.push_back({Regex::compile(R"(\p{N})", what), individual ? Behavior::isolated : Behavior::contiguous, false});
    return describe(individual ? "each of the Digits" : "Digits");
  }
  if (type == "Punctuation") {
    const Behavior behavior = json.contains("behavior") ? parse_behavior(json, what) : Behavior::isolated;
    steps_.push_back({Regex::compile(R"([!-/:-@\[-`{-~\p{P}])", what), behavior, false});
    return describe("Punctuation");
  }
  refuse_field(what, "a pre-tokenizer of type Split, Digits, Punctuation, ByteLevel or a Sequence of these", type);
}

void PreTokenizer::add_byte_level(const Json& json, std::string_view what) {
  byte_level_ = true;
  add_prefix_space_ = bool_field(json, "add_prefix_space", true, what);
  if (add_prefix_space_ && !steps_.empty())
    refuse_field(what, "ByteLevel without add_prefix_space after other steps", "it with");
  const bool use_regex = bool_field(json, "use_regex", true, what);
  if (use_regex) steps_.push_back({Regex::compile(kGpt2Pattern, what), Behavior::isolated, false});
  describe(use_regex ? "ByteLevel with GPT-2's pattern" : "ByteLevel");
}

PreTokenizer::Splitter::Splitter(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  for (const Step& step : pre_tokenizer.steps_) matchers_.emplace_back(step.regex);
}

bool PreTokenizer::Step::joins(bool is_match, bool next_is_match) const {
  switch (behavior) {
    case Behavior::isolated:
    case Behavior::removed:
      return false;
    case Behavior::merged_with_previous:
      return !is_match && next_is_match;
    case Behavior::merged_with_next:
      return is_match && !next_is_match;
    case Behavior::contiguous:
      return is_match == next_is_match;
  }
  return false;
}

void PreTokenizer::Splitter::split(std::string_view text, const Emit& emit) {
  if (!text.empty()) apply(0, text, {0, text.size()}, emit);
}

void PreTokenizer::Splitter::apply(std::size_t index, std::string_view whole, Word word, const Emit& emit) {
  if (index == matchers_.size()) return emit(word);
  const Step& step = pre_tokenizer_.steps_[index];
  // A step sees a word as a text of its own: no context reaches into it.
  const std::string_view text = whole.substr(word.begin, word.end - word.begin);

  Word pending{0, 0};  // the last range, until it is known whether the next one joins it
  bool pending_is_match = false;
  const auto flush = [&] {
    if (pending.begin == pending.end || (step.behavior == Behavior::removed && pending_is_match)) return;
    apply(index + 1, whole, {word.begin + pending.begin, word.begin + pending.end}, emit);
  };
  const auto add = [&](std::size_t end, bool is_match) {
    if (pending.end == 0 || !step.joins(pending_is_match, is_match)) {
      flush();
      pending.begin = pending.end;
    }
    pending.end = end;
    pending_is_match = is_match;
  };

  std::optional<std::size_t> end_of_last;
  for (std::size_t from = 0; from <= text.size();) {
    const auto match = matchers_[index].find(text, from);
    if (!match) break;
    if (match->begin == match->end && match->end == end_of_last) {
      // An empty match right after another does not count.
      from += from < text.size() ? read_utf8(text.substr(from)).bytes : 1;
      continue;
    }
    if (match->begin > end_of_last.value_or(0)) add(match->begin, step.invert);
    add(match->end, !step.invert);
    end_of_last = from = match->end;
  }
  if (end_of_last.value_or(0) < text.size()) add(text.size(), step.invert);
  flush();
}

}  // namespace strata
