#include "server/constrained/tool_grammar.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/quote.h"
#include "server/constrained/schema_compiler.h"
#include "text/utf8.h"

namespace strata {
namespace {

constexpr std::size_t kMaxChoiceBytes = 256 << 10;

/// The alternatives of a parameter as they are written in a call: strings as they are, others as JSON.
class ParameterWriter {
 public:
  explicit ParameterWriter(Grammar& grammar) : grammar_(grammar) {
    TextShape end;
    end.words = {std::string(RawTextShape::kEnd)};
    end_ = grammar.add(std::move(end));
  }

  ValueId write(ValueId value) {
    std::vector<ShapeId> shapes;
    if (!grammar_.collect(value, shapes))
      throw Error(ErrorCode::usage, "a tool's parameter has too many alternatives: make its schema smaller");
    std::vector<ShapeId> json, written;
    TextShape raw;
    for (const ShapeId shape : shapes) {
      if (const auto* string = std::get_if<StringShape>(&grammar_.shapes[shape])) {
        written.push_back(grammar_.add(RawTextShape(LengthCounter(string->length()))));
      } else if (const auto* text = std::get_if<TextShape>(&grammar_.shapes[shape])) {
        TextShape others;
        for (const std::string& word : text->words) add_word(word, raw, others);
        if (!others.words.empty()) json.push_back(grammar_.add(std::move(others)));
      } else {
        json.push_back(shape);
      }
    }
    if (!raw.words.empty()) written.push_back(grammar_.add(std::move(raw)));
    if (!json.empty()) {
      const ValueId rest = grammar_.add_value(std::move(json));
      written.push_back(grammar_.add(EndedShape{rest, end_}));
    }
    return grammar_.add_value(std::move(written));
  }

 private:
  static void add_word(const std::string& word, TextShape& raw, TextShape& others) {
    if (word[0] != '"') return others.words.push_back(word);
    std::string text = Json::parse(word).get<std::string>() + std::string(RawTextShape::kEnd);
    // One that holds the end of a value can't be written.
    if (text.find(RawTextShape::kEnd.substr(0, RawTextShape::kEnd.size() - 1)) + RawTextShape::kEnd.size() ==
        text.size())
      raw.words.push_back(std::move(text));
  }

  Grammar& grammar_;
  ShapeId end_;
};

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

void check_name(const std::string& name, const std::string& what) {
  if (!name.empty() && name.find_first_of("\n\r>") == std::string::npos && valid_utf8_prefix(name) == name.size())
    return;
  throw Error(ErrorCode::usage, what + " " + in_quotes(name) +
                                    " can't be written in a call: it must not be empty or have a line end or \">\"");
}

/// Compiles the functions of one request.
class ToolCompiler {
 public:
  explicit ToolCompiler(Grammar& grammar) : grammar_(grammar), writer_(grammar) {}

  ShapeId fields(const Json& parameters, const std::string& tool) {
    struct Key {
      std::string name;
      const Json* schema;  // null: anything
      bool required;
    };
    std::vector<Key> keys;
    const Json* properties = member(parameters, "properties");
    if (properties != nullptr && properties->is_object())
      for (const auto& [name, schema] : properties->items()) keys.push_back({name, &schema, false});
    const Json* required = member(parameters, "required");
    if (required != nullptr && required->is_array()) {
      for (const Json& name : *required) {
        if (!name.is_string()) continue;
        const auto known = std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return name == key.name; });
        if (known != keys.end()) {
          known->required = true;
        } else {
          keys.push_back({name.get<std::string>(), nullptr, true});
        }
      }
    }
    count(keys.size(), tool);
    std::stable_partition(keys.begin(), keys.end(), [](const Key& key) { return key.required; });

    std::vector<std::pair<std::string, std::int32_t>> texts;
    std::vector<ValueId> values;
    std::vector<bool> is_required;
    for (const Key& key : keys) {
      check_name(key.name, "the parameter of the tool " + in_quotes(tool));
      texts.emplace_back("<parameter=" + key.name + ">\n", static_cast<std::int32_t>(values.size()));
      values.push_back(parameter(parameters, key.schema, key.name));
      is_required.push_back(key.required);
    }
    texts.emplace_back("</function>\n", static_cast<std::int32_t>(values.size()));
    FieldsShape shape;
    shape.order = key_order(std::move(values), is_required);
    shape.texts = ByteTrie(std::move(texts));
    return grammar_.add(std::move(shape));
  }

 private:
  void count(std::size_t keys, const std::string& tool) {
    cost_.properties += keys;
    if (cost_.properties > limits_.properties)
      throw SchemaError("#", "properties",
                        "with the tool " + in_quotes(tool) + " the tools have more than " +
                            std::to_string(limits_.properties) + " parameters in all");
  }

  ValueId parameter(const Json& parameters, const Json* schema, const std::string& name) {
    const std::string pointer = "#/properties/" + pointer_part(name);
    if (schema != nullptr) {
      try {
        return writer_.write(SchemaCompiler(parameters, "#", limits_, cost_, grammar_).compile(*schema, pointer));
      } catch (const SchemaError&) {
        // What can't be enforced is the tool's own to check.
      }
    }
    const Json anything(true);
    const Json* type = schema == nullptr ? nullptr : member(*schema, "type");
    const Json typed = type == nullptr ? anything : Json{{"type", *type}};
    try {
      return writer_.write(SchemaCompiler(typed, pointer, limits_, cost_, grammar_).compile(typed, pointer));
    } catch (const SchemaError&) {
      return writer_.write(SchemaCompiler(anything, pointer, limits_, cost_, grammar_).compile(anything, pointer));
    }
  }

  Grammar& grammar_;
  ParameterWriter writer_;
  const SchemaLimits limits_;
  SchemaCost cost_;
};

}  // namespace

Grammar compile_tool_calls(const Json& tools, std::optional<std::string_view> name) {
  Grammar grammar;
  grammar.leading_blanks = false;
  ToolCompiler compiler(grammar);
  SwitchShape choice;
  std::vector<std::pair<std::string, std::int32_t>> texts;
  const Json nothing;
  for (const Json& tool : tools) {
    const Json* function = member(tool, "function");
    const Json* tool_name = function == nullptr ? nullptr : member(*function, "name");
    if (tool_name == nullptr || !tool_name->is_string())
      throw Error(ErrorCode::usage, "a tool has no function.name: each needs one to be called");
    const auto text = tool_name->get<std::string>();
    if (name && text != *name) continue;
    check_name(text, "the tool");
    const Json* parameters = member(*function, "parameters");
    texts.emplace_back("\n<function=" + text + ">\n", static_cast<std::int32_t>(choice.next.size()));
    choice.next.push_back(compiler.fields(parameters == nullptr ? nothing : *parameters, text));
  }
  if (texts.empty())
    throw Error(ErrorCode::usage, name ? "the tool " + in_quotes(*name) + " of tool_choice is not among tools"
                                       : "a tool call is required, but there are no tools");
  choice.texts = ByteTrie(std::move(texts));
  grammar.root = grammar.add_value({grammar.add(std::move(choice))});
  if (!grammar.finish() || !grammar.has_texts())
    throw SchemaError("#", "", "no tool can be called: each has a required parameter that no value is valid for");
  return grammar;
}

Grammar compile_choice(std::span<const std::string> texts) {
  std::size_t bytes = 0;
  TextShape choice;
  for (const std::string& text : texts) {
    if (text.empty())
      throw Error(ErrorCode::usage, "a text of the choice is empty: an answer has at least one character");
    if (valid_utf8_prefix(text) != text.size())
      throw Error(ErrorCode::usage, "the text " + in_quotes(text) + " of the choice is not valid UTF-8");
    bytes += text.size();
    choice.words.push_back(text);
  }
  if (texts.empty()) throw Error(ErrorCode::usage, "the choice has no texts: give at least one");
  if (bytes > kMaxChoiceBytes)
    throw Error(ErrorCode::usage, "the choice has " + std::to_string(bytes) + " bytes, expected at most " +
                                      std::to_string(kMaxChoiceBytes));
  Grammar grammar;
  grammar.leading_blanks = false;
  grammar.root = grammar.add_value({grammar.add(std::move(choice))});
  grammar.finish();
  return grammar;
}

}  // namespace strata
