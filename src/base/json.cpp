// Strict event-wise JSON parsing, and a document builder on top of it.
#include "base/json.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json_sax.h"
#include "base/quote.h"

namespace strata {
namespace {

/// Walks over a text and leaves in `*next` what was read last, so that messages can say where that was.
class TrackedByte {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedByte(const char* at, const char** next) : at_(at), next_(next) {}
  reference operator*() const { return *at_; }
  TrackedByte& operator++() {
    *next_ = ++at_;
    return *this;
  }
  bool operator==(const TrackedByte& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** next_;
};

class DocumentHandler final : public StrictSax {
 public:
  DocumentHandler(std::string_view what, int max_depth) : what_(what), max_depth_(max_depth) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& key) override {
    if (!open_.back().keys.insert(key).second)
      refuse("the JSON has the key " + in_quotes(key) + " twice in one object, at " + place());
    open_.back().key = std::move(key);
    return true;
  }

 private:
  struct Open {
    Json value;
    std::string key;  // that the next value belongs to
    std::unordered_set<std::string> keys;
  };

  [[noreturn]] void refuse(const std::string& why) const override {
    throw Error(ErrorCode::bad_model, std::string(what_) + ": " + why);
  }

  bool open(Json value) {
    if (open_.size() >= static_cast<std::size_t>(max_depth_))
      refuse("the JSON is nested more than " + std::to_string(max_depth_) + " levels deep, at " + place());
    open_.push_back({std::move(value), {}, {}});
    return true;
  }

  bool close() {
    Json value = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(value));
  }

  bool add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().value.is_array()) {
      open_.back().value.push_back(std::move(value));
    } else {
      // Straight into the vector beneath the ordered map; the map's own insertion compares with every key.
      auto& object = open_.back().value.get_ref<Json::object_t&>();
      static_cast<Json::object_t::Container&>(object).emplace_back(std::move(open_.back().key), std::move(value));
    }
    return true;
  }

  std::string_view what_;
  int max_depth_;
  Json root_;
  std::vector<Open> open_;
};

}  // namespace

bool StrictSax::parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) {
  std::string reason = error.what();
  if (const auto end = reason.find("] "); end != std::string::npos) reason.erase(0, end + 2);
  // The reason repeats the token that was read last, which may be as long as the text.
  if (constexpr std::size_t kMaxBytes = 240; reason.size() > kMaxBytes) reason = reason.substr(0, kMaxBytes) + "...";
  // It may end within a character, or hold the very byte that is no UTF-8.
  for (char& c : reason)
    if (c < 0x20 || c > 0x7E) c = '?';
  if (!reason.starts_with("parse error at ")) reason += ", at " + place();
  refuse("expected valid JSON: " + reason);
  return false;
}

std::string StrictSax::place() const {
  const char* last = next_ > begin_ ? next_ - 1 : begin_;
  const auto line = 1 + std::count(begin_, last, '\n');
  const char* line_begin = std::find(std::reverse_iterator(last), std::reverse_iterator(begin_), '\n').base();
  return "line " + std::to_string(line) + ", column " + std::to_string(last - line_begin + 1);
}

void parse_sax(std::string_view text, StrictSax& handler) {
  const char* end = text.data() + text.size();
  handler.begin_ = handler.next_ = text.data();
  // The lexer takes a NUL byte for the end of the text and would not look at what follows it.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    handler.next_ = handler.begin_ + nul + 1;
    handler.refuse("expected valid JSON: found a NUL byte at " + handler.place());
  }
  Json::sax_parse(TrackedByte(text.data(), &handler.next_), TrackedByte(end, &handler.next_),
                  static_cast<StrictSax*>(&handler));
}

Json parse_json(std::string_view text, std::string_view what, int max_depth) {
  DocumentHandler handler(what, max_depth);
  parse_sax(text, handler);
  return handler.take();
}

Json read_json(const std::filesystem::path& path, std::int64_t max_bytes) {
  return parse_json(read_text(path, max_bytes), path.string());
}

}  // namespace strata
