// Reads the entries of a safetensors header event by event: a document of 165,860 entries is never built.
#include "checkpoint/safetensors_header.h"

#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/json_sax.h"
#include "base/quote.h"

namespace strata {
namespace {

constexpr StoredType kTypes[] = {StoredType::BOOL,    StoredType::U8,  StoredType::I8,  StoredType::F8_E5M2,
                                 StoredType::F8_E4M3, StoredType::I16, StoredType::U16, StoredType::F16,
                                 StoredType::BF16,    StoredType::I32, StoredType::U32, StoredType::F32,
                                 StoredType::F64,     StoredType::I64, StoredType::U64};
// Far above any real tensor's rank; bounds what a message prints.
constexpr std::size_t kMaxRank = 64;

std::optional<StoredType> type_of(std::string_view name) {
  for (const StoredType type : kTypes)
    if (name_of(type) == name) return type;
  return std::nullopt;
}

std::string type_names() {
  std::string names;
  for (const StoredType type : kTypes) names += (names.empty() ? "" : ", ") + std::string(name_of(type));
  return names;
}

class HeaderHandler final : public StrictSax {
 public:
  explicit HeaderHandler(std::string_view what) : what_(what) {}
  std::vector<HeaderTensor> take() { return std::move(tensors_); }

  bool null() override { wrong("null"); }
  bool boolean(bool) override { wrong("a boolean"); }
  bool number_integer(number_integer_t) override { wrong("a negative number"); }
  bool number_float(number_float_t, const string_t& text) override {
    // Integers that 64 bits don't hold arrive here too.
    if (in_numbers() && text.find_first_not_of("0123456789") == std::string::npos) overflow(text);
    wrong("a number with a fraction or an exponent");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_numbers()) wrong("a number");
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max()))
      overflow(std::to_string(value));
    const auto number = static_cast<std::int64_t>(value);
    if (at_ == At::shape) {
      if (tensor_.shape.size() == kMaxRank)
        refuse_tensor("TensorInvalidInfo", "expected at most " + std::to_string(kMaxRank) + " dimensions, found more");
      tensor_.shape.push_back(number);
    } else {
      if (offsets_ == 2) refuse_tensor(kBadJson, "expected data_offsets of 2 numbers, found more");
      (offsets_++ == 0 ? tensor_.begin : tensor_.end) = number;
    }
    return true;
  }

  bool string(string_t& value) override {
    if (at_ == At::metadata) return true;
    if (at_ != At::tensor || field_ != Field::dtype) wrong("a string");
    const auto type = type_of(value);
    if (!type) refuse_tensor(kBadJson, "expected a dtype of " + type_names() + ", found " + in_quotes(value));
    tensor_.type = *type;
    return true;
  }

  bool start_object(std::size_t) override {
    if (at_ == At::document) {
      at_ = At::tensors;
    } else if (at_ == At::tensors && tensor_.name == "__metadata__") {
      if (has_metadata_) refuse("the key \"__metadata__\" stands there twice");
      has_metadata_ = true;
      at_ = At::metadata;
    } else if (at_ == At::tensors) {
      at_ = At::tensor;
      has_type_ = has_shape_ = has_offsets_ = false;
    } else {
      wrong("an object");
    }
    return true;
  }

  bool end_object() override {
    if (at_ == At::tensor) {
      for (const auto& [has, key] :
           {std::pair{has_type_, "dtype"}, {has_shape_, "shape"}, {has_offsets_, "data_offsets"}})
        if (!has) refuse_tensor(kBadJson, "expected the key \"" + std::string(key) + "\", found none");
      tensors_.push_back(std::exchange(tensor_, {}));
    } else if (at_ == At::metadata) {
      tensor_.name.clear();
    } else if (at_ == At::tensors) {
      at_ = At::document;
      return true;
    }
    at_ = At::tensors;
    return true;
  }

  bool start_array(std::size_t) override {
    if (at_ != At::tensor || field_ == Field::dtype) wrong("an array");
    at_ = field_ == Field::shape ? At::shape : At::offsets;
    return true;
  }

  bool end_array() override {
    if (at_ == At::offsets && offsets_ != 2)
      refuse_tensor(kBadJson, "expected data_offsets of 2 numbers, found " + std::to_string(offsets_));
    at_ = At::tensor;
    return true;
  }

  bool key(string_t& key) override {
    if (at_ == At::tensors) {
      tensor_.name = std::move(key);
      offsets_ = 0;
    } else if (at_ == At::metadata) {
      if (!metadata_keys_.insert(key).second) refuse("__metadata__ has the key " + in_quotes(key) + " twice");
    } else {
      bool& seen = field(key);
      if (seen) refuse_tensor(kBadJson, "the key " + in_quotes(key) + " stands there twice");
      seen = true;
    }
    return true;
  }

 private:
  enum class At { document, tensors, metadata, tensor, shape, offsets };
  enum class Field { dtype, shape, offsets };
  static constexpr std::string_view kBadJson = "InvalidHeaderDeserialization";

  bool in_numbers() const { return at_ == At::shape || at_ == At::offsets; }

  bool& field(std::string_view key) {
    if (key == "dtype") {
      field_ = Field::dtype;
      return has_type_;
    }
    if (key == "shape") {
      field_ = Field::shape;
      return has_shape_;
    }
    if (key == "data_offsets") {
      field_ = Field::offsets;
      return has_offsets_;
    }
    refuse_tensor(kBadJson, "expected the keys dtype, shape and data_offsets only, found " + in_quotes(key));
  }

  [[noreturn]] void refuse(const std::string& why) const override {
    const bool inside = at_ != At::document && at_ != At::metadata && !tensor_.name.empty();
    refuse_safetensors(what_, inside ? std::string_view(tensor_.name) : std::string_view(), kBadJson, why);
  }
  [[noreturn]] void refuse_tensor(std::string_view word, const std::string& why) const {
    refuse_safetensors(what_, tensor_.name, word, why);
  }
  [[noreturn]] void overflow(const std::string& digits) const {
    refuse_tensor("ValidationOverflow", "expected numbers of at most 63 bits, found " + digits.substr(0, 40));
  }
  [[noreturn]] void wrong(const std::string& found) const {
    std::string expected;
    switch (at_) {
      case At::document:
        expected = "an object of tensors";
        break;
      case At::tensors:
        expected = "an object with dtype, shape and data_offsets";
        break;
      case At::metadata:
        refuse("expected strings only in __metadata__, found " + found);
      case At::tensor:
        expected = field_ == Field::dtype ? "a string as dtype" : "an array of numbers";
        break;
      case At::shape:
        expected = "whole numbers, 0 or more, in shape";
        break;
      case At::offsets:
        expected = "whole numbers, 0 or more, in data_offsets";
        break;
    }
    refuse("expected " + expected + ", found " + found);
  }

  std::string_view what_;
  At at_ = At::document;
  Field field_ = Field::dtype;
  HeaderTensor tensor_;
  int offsets_ = 0;
  bool has_metadata_ = false, has_type_ = false, has_shape_ = false, has_offsets_ = false;
  std::unordered_set<std::string> metadata_keys_;
  std::vector<HeaderTensor> tensors_;
};

}  // namespace

void refuse_safetensors(std::string_view what, std::string_view tensor, std::string_view word, const std::string& why) {
  std::string message(what);
  if (!tensor.empty()) message += ": tensor " + in_quotes(tensor);
  throw Error(ErrorCode::bad_model, message + ": " + std::string(word) + ": " + why +
                                        "; the file is damaged or was written wrongly, fetch or export it again");
}

std::vector<HeaderTensor> parse_header_json(std::string_view header, std::string_view what) {
  HeaderHandler handler(what);
  parse_sax(header, handler);
  return handler.take();
}

}  // namespace strata
