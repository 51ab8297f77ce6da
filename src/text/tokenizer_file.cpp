#include "text/tokenizer_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/json_sax.h"

namespace strata {
namespace {

constexpr std::size_t kMaxDepth = 64;
// Objects of the ordered DOM are searched linearly; no real one but the vocabulary has more than some dozens of keys.
constexpr std::size_t kMaxKeys = 4096;

/// Builds the DOM of all but `model.vocab` and `model.merges`, which it streams into their vectors.
class Handler final : public StrictSax {
 public:
  Handler(TokenizerFile& file, std::string_view what) : file_(file), what_(what) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return stream_ == Stream::vocab ? add_id(value) : add(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (stream_ != Stream::vocab) return add(value);
    return add_id(static_cast<std::int64_t>(std::min<number_unsigned_t>(value, INT64_MAX)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }

  bool string(string_t& value) override {
    if (stream_ != Stream::merges) return add(std::move(value));
    if (in_pair_) {
      if (pair_.size() == 2) bad_merge();
      pair_.push_back(std::move(value));
    } else if (!value.starts_with("#version")) {  // the first line of a merges.txt that was taken over
      const auto space = value.find(' ');
      if (space == std::string::npos || value.find(' ', space + 1) != std::string::npos) bad_merge();
      file_.merges.emplace_back(value.substr(0, space), value.substr(space + 1));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (stream_ == Stream::vocab) refuse("model.vocab: expected ids, found an object");
    if (stream_ == Stream::merges) bad_merge();
    if (at_model_key("vocab")) {
      stream_ = Stream::vocab;
    } else {
      open(Json::object());
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (stream_ == Stream::vocab) refuse("model.vocab: expected ids, found an array");
    if (stream_ == Stream::merges) {
      if (in_pair_) bad_merge();
      in_pair_ = true;
    } else if (at_model_key("merges")) {
      stream_ = Stream::merges;
    } else {
      open(Json::array());
    }
    return true;
  }

  bool end_object() override {
    if (stream_ == Stream::vocab) {
      stream_ = Stream::none;
    } else {
      path_.pop_back();
      if (path_.size() == 1) model_ = nullptr;
    }
    return true;
  }

  bool end_array() override {
    if (in_pair_) {
      if (pair_.size() != 2) bad_merge();
      file_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      pair_.clear();
      in_pair_ = false;
    } else if (stream_ == Stream::merges) {
      stream_ = Stream::none;
    } else {
      path_.pop_back();
    }
    return true;
  }

  bool key(string_t& value) override {
    if (stream_ == Stream::none) {
      const Json& object = *path_.back();
      if (object.size() >= kMaxKeys) refuse("an object has more than " + std::to_string(kMaxKeys) + " keys");
      const bool streamed =
          path_.size() == 2 && model_ == path_.back() &&
          ((value == "vocab" && !file_.vocab.empty()) || (value == "merges" && !file_.merges.empty()));
      if (object.contains(value) || streamed) refuse("the key \"" + value + "\" stands twice in one object");
    }
    key_ = std::move(value);
    return true;
  }

 private:
  enum class Stream { none, vocab, merges };

  [[noreturn]] void refuse(const std::string& why) const override {
    throw Error(ErrorCode::bad_model, std::string(what_) + ": " + why);
  }
  [[noreturn]] void bad_merge() const {
    refuse("model.merges[" + std::to_string(file_.merges.size()) +
           "]: expected \"a b\" or [\"a\", \"b\"] with two tokens, found something else");
  }

  bool at_model_key(std::string_view key) const { return path_.size() == 2 && path_.back() == model_ && key_ == key; }

  bool add_id(std::int64_t id) {
    file_.vocab.emplace_back(std::move(key_), id);
    return true;
  }

  bool add(Json value) {
    if (stream_ == Stream::vocab) refuse("model.vocab: expected an id for \"" + key_ + "\", found " + value.dump());
    if (stream_ == Stream::merges) bad_merge();
    put(std::move(value));
    return true;
  }

  Json* put(Json value) {
    if (path_.empty()) return &(file_.rest = std::move(value));
    Json& parent = *path_.back();
    if (parent.is_array()) return &parent.emplace_back(std::move(value));
    return &(parent[key_] = std::move(value));
  }

  void open(Json container) {
    if (path_.size() == kMaxDepth) refuse("the JSON is nested more than " + std::to_string(kMaxDepth) + " levels deep");
    const bool is_model = path_.size() == 1 && path_[0]->is_object() && key_ == "model";
    path_.push_back(put(std::move(container)));
    if (is_model) model_ = path_.back();
  }

  TokenizerFile& file_;
  std::string_view what_;
  std::vector<Json*> path_;  // the DOM's open containers; a parent never grows while a child of it is open
  const Json* model_ = nullptr;
  std::string key_;  // the last one read
  Stream stream_ = Stream::none;
  bool in_pair_ = false;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerFile read_tokenizer_file(std::string_view json, std::string_view what) {
  TokenizerFile file;
  Handler handler(file, what);
  parse_sax(json, handler);
  return file;
}

void refuse_field(std::string_view what, std::string_view expected, std::string_view found) {
  std::string message(what);
  message.append(": expected ").append(expected).append(", found ").append(found);
  throw Error(ErrorCode::bad_model, message);
}

namespace {

/// The field, or null if there is none.
const Json& field(const Json& object, std::string_view key, std::string_view what) {
  static const Json null;
  if (!object.is_object()) refuse_field(what, "an object", object.type_name());
  const auto found = object.find(std::string(key));
  return found == object.end() ? null : *found;
}

}  // namespace

std::string string_field(const Json& object, std::string_view key, std::string_view what) {
  const Json& value = field(object, key, what);
  if (!value.is_string()) refuse_field(what, "a string \"" + std::string(key) + '"', value.type_name());
  return value.get<std::string>();
}

std::string type_field(const Json& object, std::string_view what) { return string_field(object, "type", what); }

const Json& array_field(const Json& object, std::string_view key, std::string_view what) {
  const Json& value = field(object, key, what);
  if (!value.is_array()) refuse_field(what, "an array \"" + std::string(key) + '"', value.type_name());
  return value;
}

bool bool_field(const Json& object, std::string_view key, bool missing, std::string_view what) {
  const Json& value = field(object, key, what);
  if (value.is_null()) return missing;
  if (!value.is_boolean()) refuse_field(what, "a boolean \"" + std::string(key) + '"', value.type_name());
  return value.get<bool>();
}

}  // namespace strata
