#include "base/json.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace strata {
namespace {

// nlohmann's DOM builder keeps the last of two equal keys and recurses when a deep value is destroyed;
// this callback refuses both while the text is read.
class Guard {
 public:
  Guard(std::string_view what, int max_depth) : what_(what), max_depth_(max_depth) {}

  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= max_depth_) refuse("is nested more than " + std::to_string(max_depth_) + " levels deep");
      keys_.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      keys_.pop_back();
    } else if (event == Event::key) {
      std::string key = value.get<std::string>();
      if (std::find(keys_.back().begin(), keys_.back().end(), key) != keys_.back().end())
        refuse("has the key \"" + key + "\" twice in one object");
      keys_.back().push_back(std::move(key));
    }
    return true;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) {
    throw Error(ErrorCode::bad_model, std::string(what_) + ": the JSON " + why);
  }
  std::string_view what_;
  int max_depth_;
  std::vector<std::vector<std::string>> keys_;  // of the objects that are open
};

}  // namespace

Json parse_json(std::string_view text, std::string_view what, int max_depth) {
  try {
    return Json::parse(text, Guard(what, max_depth));
  } catch (const Json::exception& e) {
    std::string reason = e.what();
    if (const auto end = reason.find("] "); end != std::string::npos) reason.erase(0, end + 2);
    throw Error(ErrorCode::bad_model, std::string(what) + ": expected valid JSON: " + reason);
  }
}

Json read_json(const std::filesystem::path& path, std::int64_t max_bytes) {
  return parse_json(read_text(path, max_bytes), path.string());
}

}  // namespace strata
