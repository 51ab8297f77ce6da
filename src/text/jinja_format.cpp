// str(), repr(), json.dumps and string formatting, to the letter of Python.
#include "text/jinja_format.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace strata::jinja {
namespace {

// Containers can hold each other through namespaces, so even a bounded nesting needs a guard here.
constexpr int kMaxReprDepth = kMaxNesting + 8;

void check_size(const std::string& out) {
  if (out.size() > kMaxTextBytes) throw Failure("a string grows beyond 16 MiB");
}

bool is_printable(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code == ' ';
    default:
      return true;
  }
}

void append_hex(std::string& out, const char* format, unsigned code) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, format, code);
  out += buffer;
}

void repr_string(std::string& out, const std::string& bytes) {
  const bool has_single = bytes.find('\'') != std::string::npos;
  const char quote = has_single && bytes.find('"') == std::string::npos ? '"' : '\'';
  out += quote;
  for (std::size_t i = 0; i < bytes.size();) {
    const Character c = character_at(bytes, i);
    if (c.code == static_cast<unsigned char>(quote) || c.code == '\\') {
      out += '\\';
      out += static_cast<char>(c.code);
    } else if (c.code == '\n') {
      out += "\\n";
    } else if (c.code == '\r') {
      out += "\\r";
    } else if (c.code == '\t') {
      out += "\\t";
    } else if (is_printable(c.code)) {
      out.append(bytes, i, c.bytes);
    } else {
      append_hex(out, c.code < 0x100 ? "\\x%02x" : c.code < 0x10000 ? "\\u%04x" : "\\U%08x", c.code);
    }
    i += c.bytes;
  }
  out += quote;
}

void append_repr(std::string& out, const Value& value, int depth);

void repr_items(std::string& out, const std::vector<Value>& items, int depth) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    append_repr(out, items[i], depth + 1);
  }
}

void repr_sequence(std::string& out, const Sequence& sequence, int depth) {
  switch (sequence.kind) {
    case Sequence::Kind::list:
      out += '[';
      repr_items(out, sequence.items, depth);
      out += ']';
      return;
    case Sequence::Kind::tuple:
      out += '(';
      repr_items(out, sequence.items, depth);
      out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    case Sequence::Kind::view:
      out += sequence.label + "([";
      repr_items(out, sequence.items, depth);
      out += "])";
      return;
    case Sequence::Kind::range:
    case Sequence::Kind::generator:
      out += sequence.label;
      return;
  }
}

void append_repr(std::string& out, const Value& value, int depth) {
  if (depth > kMaxReprDepth) throw Failure("maximum recursion depth exceeded while getting the repr of an object");
  check_size(out);
  if (const Text* text = value.text()) {
    if (value.is_markup()) out += "Markup(";
    repr_string(out, text->bytes());
    if (value.is_markup()) out += ')';
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (const bool* flag = value.get<bool>()) {
    out += *flag ? "True" : "False";
  } else if (const auto* integer = value.get<std::int64_t>()) {
    out += std::to_string(*integer);
  } else if (const double* number = value.get<double>()) {
    out += float_repr(*number);
  } else if (const Sequence* sequence = value.sequence()) {
    repr_sequence(out, *sequence, depth);
  } else if (const Dict* dict = value.dict()) {
    out += '{';
    for (const Dict::Entry& entry : dict->entries) {
      if (&entry != dict->entries.data()) out += ", ";
      append_repr(out, entry.key, depth + 1);
      out += ": ";
      append_repr(out, entry.value, depth + 1);
    }
    out += '}';
  } else if (const auto* space = value.get<Namespace*>()) {
    out += "<Namespace {";
    for (const auto& [name, attribute] : (*space)->attributes) {
      if (name != (*space)->attributes.front().first) out += ", ";
      repr_string(out, name);
      out += ": ";
      append_repr(out, attribute, depth + 1);
    }
    out += "}>";
  } else if (const auto* loop = value.get<LoopRef>()) {
    out += "<LoopContext " + std::to_string((*loop)->index0 + 1) + "/" + std::to_string((*loop)->items->items.size()) +
           ">";
  } else if (const auto* callable = value.get<CallableRef>()) {
    repr_string(out += (*callable)->kind == Callable::Kind::macro ? "<Macro " : "<function ", (*callable)->name);
    out += '>';
  }
}

// --- json.dumps

void json_string(std::string& out, const std::string& bytes, bool ensure_ascii) {
  out += '"';
  for (std::size_t i = 0; i < bytes.size();) {
    const Character c = character_at(bytes, i);
    switch (c.code) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (c.code < 0x20 || (ensure_ascii && c.code >= 0x7F && c.code < 0x10000)) {
          append_hex(out, "\\u%04x", c.code);
        } else if (ensure_ascii && c.code >= 0x10000) {
          append_hex(out, "\\u%04x", 0xD800 + ((c.code - 0x10000) >> 10));
          append_hex(out, "\\u%04x", 0xDC00 + ((c.code - 0x10000) & 0x3FF));
        } else {
          out.append(bytes, i, c.bytes);
        }
    }
    i += c.bytes;
  }
  out += '"';
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value) {
    check_size(out);
    const Sequence* sequence = value.sequence();
    if (const Text* text = value.text()) {
      json_string(out, text->bytes(), style_.ensure_ascii);
    } else if (const Dict* dict = value.dict()) {
      write_dict(*dict);
    } else if (sequence && (sequence->kind == Sequence::Kind::list || sequence->kind == Sequence::Kind::tuple)) {
      begin('[', sequence->items.empty());
      for (const Value& item : sequence->items) {
        separate(&item == sequence->items.data());
        write(item);
      }
      end(']', sequence->items.empty());
    } else if (std::optional<std::string> text_of = scalar(value)) {
      out += *text_of;
    } else {
      throw Failure("Object of type " + type_name(value) + " is not JSON serializable");
    }
  }

  std::string out;

 private:
  static std::optional<std::string> scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (const bool* flag = value.get<bool>()) return *flag ? "true" : "false";
    if (const auto* integer = value.get<std::int64_t>()) return std::to_string(*integer);
    if (const double* number = value.get<double>()) {
      if (std::isnan(*number)) return "NaN";
      if (std::isinf(*number)) return *number > 0 ? "Infinity" : "-Infinity";
      return float_repr(*number);
    }
    return std::nullopt;
  }

  void write_dict(const Dict& dict) {
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const Dict::Entry* a, const Dict::Entry* b) { return less(a->key, b->key); });
    }
    begin('{', entries.empty());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      separate(i == 0);
      const Value& key = entries[i]->key;
      const std::optional<std::string> number = scalar(key);
      if (key.text() == nullptr && !number)
        throw Failure("keys must be str, int, float, bool or None, not " + type_name(key));
      json_string(out, key.text() ? key.text()->bytes() : *number, style_.ensure_ascii);
      out += style_.key_separator;
      write(entries[i]->value);
    }
    end('}', entries.empty());
  }

  void newline() {
    if (!style_.indent) return;
    out += '\n';
    for (int i = 0; i < level_; ++i) out += *style_.indent;
  }
  void begin(char bracket, bool empty) {
    out += bracket;
    ++level_;
    if (!empty) newline();
  }
  void separate(bool first) {
    if (first) return;
    out += style_.item_separator;
    newline();
  }
  void end(char bracket, bool empty) {
    --level_;
    if (!empty) newline();
    out += bracket;
  }

  const JsonStyle& style_;
  int level_ = 0;
};

// --- formatting

const Value& named_value(const NamedArguments& named, const std::string& name) {
  for (const auto& [key, value] : named) {
    if (key == name) return value;
  }
  throw Failure("KeyError: '" + name + "' in a format string");
}

// One % conversion: flags, width and precision are C's, as Python took them from there.
Text convert_percent(const std::string& flags, char conversion, const Value& value) {
  if (conversion == 's' || conversion == 'r') {
    Text text = conversion == 's' ? to_text(value) : Text::of_input(repr(value));
    if (flags.empty()) return text;
    throw Failure("a width in %s is not supported");
  }
  require_defined(value);
  if (!is_number(value)) throw Failure("%" + std::string(1, conversion) + " format: a real number is required");
  char buffer[512];
  if (conversion == 'd' || conversion == 'i' || conversion == 'x' || conversion == 'X') {
    const double number = as_double(value);
    if (value.integer() == nullptr && !(std::abs(number) < 9e18)) throw Failure("a number does not fit 64 bits");
    const long long integer = value.integer() ? *value.integer() : static_cast<long long>(number);
    if (integer < 0 && (conversion == 'x' || conversion == 'X')) throw Failure("%x of a negative number");
    std::snprintf(buffer, sizeof buffer, ("%" + flags + "ll" + conversion).c_str(), integer);
  } else {
    std::snprintf(buffer, sizeof buffer, ("%" + flags + conversion).c_str(), as_double(value));
  }
  return Text::of_template(buffer);
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string text(buffer, result.ptr);
  const std::size_t mark = text.find('e');
  const int exponent = std::atoi(text.c_str() + mark + 1);
  if (exponent < -4 || exponent >= 16) return text;
  const bool negative = text[0] == '-';
  std::string digits;
  for (const char c : text.substr(negative ? 1 : 0, mark - (negative ? 1 : 0))) {
    if (c != '.') digits += c;
  }
  const int point = exponent + 1;
  if (point <= 0) {
    digits = "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else if (point >= static_cast<int>(digits.size())) {
    digits += std::string(static_cast<std::size_t>(point) - digits.size(), '0') + ".0";
  } else {
    digits.insert(static_cast<std::size_t>(point), ".");
  }
  return (negative ? "-" : "") + digits;
}

Text to_text(const Value& value) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return {};
  std::string out;
  append_repr(out, value, 0);
  return Text(std::move(out), !(value.is_none() || is_number(value)));
}

std::string repr(const Value& value) {
  std::string out;
  append_repr(out, value, 0);
  return out;
}

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value);
  return std::move(writer.out);
}

Text format_braces(const Text& format, const Arguments& args, const NamedArguments& named) {
  const std::string& bytes = format.bytes();
  Text out;
  std::size_t next = 0;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t brace = std::min(bytes.find_first_of("{}", i), bytes.size());
    out.append(format.slice(i, brace));
    if (brace == bytes.size()) break;
    if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
      out.append(format.slice(brace, brace + 1));
      i = brace + 2;
      continue;
    }
    if (bytes[brace] == '}') throw Failure("Single '}' encountered in format string");
    const std::size_t close = bytes.find('}', brace);
    if (close == std::string::npos) throw Failure("expected '}' before end of string");
    const std::string field = bytes.substr(brace + 1, close - brace - 1);
    if (field.find_first_of("!:.[{") != std::string::npos)
      throw Failure("the format field {" + field + "} is not supported: only {}, {0} and {name} are");
    const bool numbered = field.find_first_not_of("0123456789") == std::string::npos;
    if (numbered) {
      const std::size_t index =
          field.empty() ? next++ : std::min<std::size_t>(std::strtoul(field.c_str(), nullptr, 10), 1u << 30);
      if (index >= args.size()) throw Failure("Replacement index " + std::to_string(index) + " out of range");
      out.append(to_text(args[index]));
    } else {
      out.append(to_text(named_value(named, field)));
    }
    i = close + 1;
  }
  return out;
}

Text format_percent(const Text& format, const Value& values) {
  const std::string& bytes = format.bytes();
  const Sequence* sequence = values.sequence();
  const bool tuple = sequence != nullptr && sequence->kind == Sequence::Kind::tuple;
  const std::size_t available = tuple ? sequence->items.size() : 1;
  std::size_t used = 0;
  Text out;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t percent = std::min(bytes.find('%', i), bytes.size());
    out.append(format.slice(i, percent));
    if (percent == bytes.size()) break;
    i = percent + 1;
    const Value* value = nullptr;
    if (i < bytes.size() && bytes[i] == '(') {
      const std::size_t close = bytes.find(')', i);
      if (close == std::string::npos) throw Failure("incomplete format key");
      if (values.dict() == nullptr) throw Failure("format requires a mapping");
      value = values.dict()->find(bytes.substr(i + 1, close - i - 1));
      if (value == nullptr) throw Failure("KeyError: '" + bytes.substr(i + 1, close - i - 1) + "'");
      i = close + 1;
    }
    const std::size_t end = std::min(bytes.find_first_not_of("-+ 0.123456789", i), bytes.size());
    const std::string flags = bytes.substr(i, end - i);
    if (end == bytes.size()) throw Failure("incomplete format");
    if (flags.size() > 6 || std::atoi(flags.c_str() + std::min(flags.find_first_of("123456789"), flags.size())) > 100)
      throw Failure("the width in %" + flags + " is not supported");
    i = end + 1;
    if (bytes[end] == '%') {
      out.append("%", format.from_input_at(end));
      continue;
    }
    if (std::string_view("srdixXfFeEgG").find(bytes[end]) == std::string_view::npos)
      throw Failure("unsupported format character '" + std::string(1, bytes[end]) + "'");
    if (value == nullptr) {
      if (used >= available) throw Failure("not enough arguments for format string");
      value = tuple ? &sequence->items[used] : &values;
      ++used;
    }
    out.append(convert_percent(flags, bytes[end], *value));
  }
  if (used < available && values.dict() == nullptr)
    throw Failure("not all arguments converted during string formatting");
  return out;
}

}  // namespace strata::jinja
