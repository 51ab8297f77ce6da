// The methods of str, list, tuple, dict and loop that a template may call.
#include <utf8proc.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "text/jinja_operators.h"
#include "text/jinja_runtime.h"

namespace strata::jinja {
namespace {

Value make_texts(std::vector<Text> texts) {
  std::vector<Value> items;
  for (Text& text : texts) items.emplace_back(std::move(text));
  return make_list(std::move(items));
}

// startswith and endswith: a string, or a tuple of them.
bool has_affix(const Text& self, const Value& affix, bool at_end) {
  const Sequence* tuple = affix.sequence();
  if (tuple != nullptr && tuple->kind == Sequence::Kind::tuple) {
    return std::any_of(tuple->items.begin(), tuple->items.end(),
                       [&](const Value& item) { return item.text() != nullptr && has_affix(self, item, at_end); });
  }
  require_defined(affix);
  if (affix.text() == nullptr)
    throw Failure("startswith or endswith needs a str or a tuple of str, not " + type_name(affix));
  const std::string& bytes = affix.text()->bytes();
  return at_end ? self.bytes().ends_with(bytes) : self.bytes().starts_with(bytes);
}

std::int64_t find_in(const Text& self, const Text& part, bool from_right) {
  const std::size_t at = from_right ? self.bytes().rfind(part.bytes()) : self.bytes().find(part.bytes());
  if (at == std::string::npos) return -1;
  return static_cast<std::int64_t>(character_count(std::string_view(self.bytes()).substr(0, at)));
}

std::int64_t count_in(const Text& self, const Text& part) {
  if (part.empty()) return static_cast<std::int64_t>(character_count(self.bytes())) + 1;
  std::int64_t count = 0;
  for (std::size_t at = 0; (at = self.bytes().find(part.bytes(), at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

bool is_letter(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool is_decimal(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code)) == UTF8PROC_CATEGORY_ND;
}

// isalpha and its like: at least one character, and all of the kind.
bool all_characters(const Text& self, const std::function<bool(char32_t)>& is_kind) {
  for (std::size_t i = 0; i < self.size();) {
    const Character c = character_at(self.bytes(), i);
    if (!is_kind(c.code)) return false;
    i += c.bytes;
  }
  return !self.empty();
}

// str.title: a letter after a character without case in upper case, other letters in lower case.
Text title(const Text& self) {
  Text out;
  bool inside = false;
  for (std::size_t i = 0; i < self.size();) {
    const std::size_t next = i + character_at(self.bytes(), i).bytes;
    const Text one = self.slice(i, next);
    const Text big = upper(one), small = lower(one);
    out.append(inside ? small : big);
    inside = big.bytes() != small.bytes();
    i = next;
  }
  return out;
}

Value split_text(const Text& self, std::string_view name, const Call& call) {
  const Bound bound(name, call, {"sep", "maxsplit"});
  const std::string* separator = bound.bytes_or_null(0);
  if (separator != nullptr && separator->empty()) throw Failure("empty separator");
  return make_texts(split(self, separator, bound.integer(1, -1), name == "rsplit"));
}

Value partition(const Text& self, std::string_view name, const Call& call) {
  const Bound bound(name, call, {"sep"});
  const Text& separator = bound.text(0);
  if (separator.empty()) throw Failure("empty separator");
  const bool from_right = name == "rpartition";
  const std::size_t at = from_right ? self.bytes().rfind(separator.bytes()) : self.bytes().find(separator.bytes());
  if (at == std::string::npos)
    return from_right ? make_tuple({Text(), Text(), self}) : make_tuple({self, Text(), Text()});
  const std::size_t end = at + separator.size();
  return make_tuple({self.slice(0, at), self.slice(at, end), self.slice(end, self.size())});
}

Text join_texts(Budget& budget, const Text& separator, const Value& items) {
  Text out;
  bool first = true;
  for (const Value& item : iterate(budget, items)) {
    if (!first) out.append(separator);
    first = false;
    if (item.text() == nullptr) throw Failure("sequence item: expected str instance, " + type_name(item) + " found");
    out.append(*item.text());
  }
  return out;
}

// Methods whose result is a string; nullopt if `name` is none of them.
std::optional<Text> text_to_text(Budget& budget, const Text& self, std::string_view name, const Call& call) {
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Bound bound(name, call, {"chars"});
    return strip(self, bound.bytes_or_null(0),
                 name == "strip"    ? Side::both
                 : name == "lstrip" ? Side::left
                                    : Side::right);
  }
  if (name == "replace") {
    const Bound bound(name, call, {"old", "new", "count"});
    return replace(self, bound.text(0).bytes(), bound.text(1), bound.integer(2, -1));
  }
  if (name == "join") return join_texts(budget, self, Bound(name, call, {"iterable"}).value(0));
  if (name == "format") return format_braces(self, call.args, call.named);
  if (name == "removeprefix" || name == "removesuffix") {
    const Bound bound(name, call, {"affix"});
    const bool at_end = name == "removesuffix";
    if (!has_affix(self, bound.value(0), at_end)) return self;
    const std::size_t size = bound.text(0).size();
    return at_end ? self.slice(0, self.size() - size) : self.slice(size, self.size());
  }
  if (name == "zfill") {
    const auto width = Bound(name, call, {"width"}).integer(0, 0);
    const auto missing = width - static_cast<std::int64_t>(character_count(self.bytes()));
    if (missing <= 0) return self;
    if (missing > static_cast<std::int64_t>(kMaxTextBytes)) throw Failure("a string grows beyond 16 MiB");
    const std::size_t sign = self.bytes().starts_with('-') || self.bytes().starts_with('+') ? 1 : 0;
    Text out = self.slice(0, sign);
    out.append(std::string(static_cast<std::size_t>(missing), '0'), false);
    out.append(self.slice(sign, self.size()));
    return out;
  }
  if (name != "upper" && name != "lower" && name != "capitalize" && name != "title") return std::nullopt;
  Bound(name, call, {});
  return name == "upper"   ? upper(self)
         : name == "lower" ? lower(self)
         : name == "title" ? title(self)
                           : capitalize(self);
}

// Methods that ask something about a string; nullopt if `name` is none of them.
std::optional<Value> ask_text(const Text& self, std::string_view name, const Call& call) {
  if (name == "startswith" || name == "endswith")
    return has_affix(self, Bound(name, call, {"affix"}).value(0), name == "endswith");
  if (name == "count") return count_in(self, Bound(name, call, {"sub"}).text(0));
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex") {
    const std::int64_t at = find_in(self, Bound(name, call, {"sub"}).text(0), name[0] == 'r');
    if (at < 0 && name.ends_with("index")) throw Failure("substring not found");
    return at;
  }
  if (!name.starts_with("is")) return std::nullopt;
  Bound(name, call, {});
  if (name == "isspace") return all_characters(self, is_space);
  if (name == "isalpha") return all_characters(self, is_letter);
  if (name == "isdigit" || name == "isdecimal" || name == "isnumeric") return all_characters(self, is_decimal);
  if (name == "isalnum") return all_characters(self, [](char32_t c) { return is_letter(c) || is_decimal(c); });
  if (name == "isascii") return self.empty() || all_characters(self, [](char32_t c) { return c < 0x80; });
  const Text big = upper(self), small = lower(self);
  const bool cased = big.bytes() != small.bytes();
  if (name == "isupper") return cased && self.bytes() == big.bytes();
  if (name == "islower") return cased && self.bytes() == small.bytes();
  return std::nullopt;
}

Value call_text_method(Budget& budget, const Value& self, std::string_view name, const Call& call) {
  const Text& text = *self.text();
  if (name == "split" || name == "rsplit") return split_text(text, name, call);
  if (name == "splitlines") return make_texts(split_lines(text, Bound(name, call, {"keepends"}).flag(0, false)));
  if (name == "partition" || name == "rpartition") return partition(text, name, call);
  if (std::optional<Text> out = text_to_text(budget, text, name, call)) return Value(*std::move(out), self.is_markup());
  if (std::optional<Value> answer = ask_text(text, name, call)) return *std::move(answer);
  throw Failure("str." + std::string(name) + " is not supported");
}

Value call_dict_method(const Dict& dict, std::string_view name, const Call& call) {
  if (name == "get") {
    const Bound bound(name, call, {"key", "default"});
    if (!call.named.empty()) throw Failure("dict.get() takes no keyword arguments");
    const Value* value = dict.find(bound.value(0));
    return value != nullptr ? *value : bound.value_or(1, Value());
  }
  Bound(name, call, {});
  if (name == "copy") return DictRef(std::make_shared<const Dict>(dict));
  if (name != "keys" && name != "values" && name != "items")
    throw Failure("dict." + std::string(name) + " is not supported");
  std::vector<Value> items;
  for (const Dict::Entry& entry : dict.entries)
    items.push_back(name == "keys" ? entry.key : name == "values" ? entry.value : make_tuple({entry.key, entry.value}));
  return Sequence::make(Sequence::Kind::view, std::move(items), "dict_" + std::string(name));
}

Value call_sequence_method(Sequence& self, std::string_view name, const Call& call) {
  if (name == "pop") {
    const Bound bound(name, call, {"index"});
    const auto count = static_cast<std::int64_t>(self.items.size());
    const std::int64_t index = bound.integer(0, -1);
    const std::int64_t at = index < 0 ? index + count : index;
    if (count == 0) throw Failure("pop from empty list");
    if (at < 0 || at >= count) throw Failure("pop index out of range");
    Value item = self.items[static_cast<std::size_t>(at)];
    self.items.erase(self.items.begin() + at);
    return item;
  }
  if (name == "count" || name == "index") {
    const Bound bound(name, call, {"value"});
    std::int64_t count = 0;
    for (std::size_t i = 0; i < self.items.size(); ++i) {
      if (!equal(self.items[i], bound.value(0))) continue;
      if (name == "index") return static_cast<std::int64_t>(i);
      ++count;
    }
    if (name == "index") throw Failure(repr(bound.value(0)) + " is not in list");
    return count;
  }
  Bound(name, call, {});
  if (name == "copy") return make_list(self.items);
  self.items.clear();
  return {};
}

}  // namespace

Value call_method(Budget& budget, const Value& self, std::string_view name, const Call& call) {
  if (self.text() != nullptr) budget.charge_for(self);
  if (self.text() != nullptr) return call_text_method(budget, self, name, call);
  if (const Dict* dict = self.dict()) return call_dict_method(*dict, name, call);
  if (Sequence* sequence = self.sequence()) return call_sequence_method(*sequence, name, call);
  if (const auto* loop = self.get<LoopRef>()) {
    if (call.args.empty()) throw Failure("no items for cycling given");
    return call.args[(*loop)->index0 % call.args.size()];
  }
  throw Failure("'" + std::string(name) + "' is not callable");
}

}  // namespace strata::jinja
