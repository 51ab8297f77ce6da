// Reads weight_map event by event; it has an entry for every tensor of the model.
#include "checkpoint/shard_index.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/json_sax.h"
#include "base/quote.h"

namespace strata {
namespace {

constexpr int kMaxDepth = 64;

class IndexHandler final : public StrictSax {
 public:
  explicit IndexHandler(std::string_view what) : what_(what) {}

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("a boolean"); }
  bool number_integer(number_integer_t) override { return other("a number"); }
  bool number_unsigned(number_unsigned_t) override { return other("a number"); }
  bool number_float(number_float_t, const string_t&) override { return other("a number"); }
  bool string(string_t& shard) override {
    if (!in_map_) return other("a string");
    check_name(shard);
    const auto [found, added] = numbers_.emplace(std::move(shard), static_cast<std::int64_t>(numbers_.size()));
    index_.tensors.push_back({std::move(key_), found->second});
    return true;
  }
  bool start_object(std::size_t) override {
    if (in_map_) return other("an object");
    if (depth_ == 1 && key_ == "weight_map") {
      if (has_map_) refuse("expected weight_map once, found it twice");
      in_map_ = has_map_ = true;
    }
    return enter();
  }
  bool end_object() override {
    in_map_ = false;
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (in_map_ || depth_ == 0) return other("an array");
    if (depth_ == 1 && key_ == "weight_map") return other("an array");
    return enter();
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& key) override {
    if (in_map_ || depth_ == 1) key_ = std::move(key);
    return true;
  }

  ShardIndex take() {
    if (!has_map_) refuse("expected the object weight_map, found none");
    if (index_.tensors.empty()) refuse("expected tensors in weight_map, found none");
    std::vector<std::int64_t> places(numbers_.size());
    for (const auto& [name, number] : numbers_) {
      places[static_cast<std::size_t>(number)] = static_cast<std::int64_t>(index_.shards.size());
      index_.shards.push_back(name);
    }
    for (ShardIndex::Entry& entry : index_.tensors) entry.shard = places[static_cast<std::size_t>(entry.shard)];
    std::sort(index_.tensors.begin(), index_.tensors.end(),
              [](const auto& a, const auto& b) { return a.tensor < b.tensor; });
    const auto twice = std::adjacent_find(index_.tensors.begin(), index_.tensors.end(),
                                          [](const auto& a, const auto& b) { return a.tensor == b.tensor; });
    if (twice != index_.tensors.end())
      refuse("expected every tensor once in weight_map, found " + in_quotes(twice->tensor) + " twice");
    return std::move(index_);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const override {
    throw Error(ErrorCode::bad_model, std::string(what_) + ": " + why);
  }
  bool enter() {
    if (++depth_ > kMaxDepth) refuse("the JSON is nested more than " + std::to_string(kMaxDepth) + " levels deep");
    return true;
  }
  /// A value that is no shard's name: fine beside weight_map.
  bool other(const std::string& found) {
    if (depth_ == 0) refuse("expected an object with weight_map, found " + found);
    if (in_map_) refuse("weight_map: tensor " + in_quotes(key_) + ": expected the name of a shard, found " + found);
    if (depth_ == 1 && key_ == "weight_map") refuse("expected weight_map to be an object, found " + found);
    return true;
  }
  void check_name(const std::string& shard) const {
    if (!shard.ends_with(".safetensors") || shard.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      refuse("weight_map: tensor " + in_quotes(key_) +
             ": expected the name of a .safetensors file in the folder itself, found " + in_quotes(shard));
  }

  std::string_view what_;
  std::string key_;
  int depth_ = 0;
  bool in_map_ = false, has_map_ = false;
  std::map<std::string, std::int64_t> numbers_;  // of the shards, in the order of their appearance
  ShardIndex index_;
};

}  // namespace

ShardIndex parse_shard_index(std::string_view text, std::string_view what) {
  IndexHandler handler(what);
  parse_sax(text, handler);
  return handler.take();
}

}  // namespace strata
