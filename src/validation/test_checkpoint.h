// The fixtures' checkpoints, and copies of them to damage, for the tests of this folder.
#pragma once

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "base/file.h"
#include "model/registry.h"
#include "validation/weight_survey.h"

namespace strata {

inline const std::filesystem::path kCheckpoints = STRATA_SOURCE_DIR "/tests/fixtures/checkpoints";

/// A folder of its own, removed with all that is in it.
class TestFolder {
 public:
  TestFolder() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("strata_validation_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Copies a fixture here.
  void copy(const std::string& checkpoint) const {
    std::filesystem::copy(kCheckpoints / checkpoint, path_, std::filesystem::copy_options::recursive);
  }
  /// Overwrites bytes of a tensor in model.safetensors.
  void patch(const std::string& tensor, std::int64_t at, const std::string& bytes) const {
    const std::filesystem::path file = path_ / "model.safetensors";
    const std::string text = read_text(file, 1 << 30);
    std::uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
    const std::size_t entry = text.find("\"" + tensor + "\"");
    CHECK(entry != std::string::npos, "the tensor is in the fixture");
    const std::size_t offsets = text.find('[', text.find("data_offsets", entry));
    const auto begin = static_cast<std::streamoff>(std::stoll(text.substr(offsets + 1)));
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(8 + static_cast<std::streamoff>(header) + begin + at);
    out << bytes;
  }
  /// Replaces the first `from` in a file by `to`, of the same length in a safetensors header.
  void replace(const std::string& name, const std::string& from, const std::string& to) const {
    std::string text = read_text(path_ / name, 1 << 30);
    const std::size_t found = text.find(from);
    CHECK(found != std::string::npos, "the text is in the file");
    text.replace(found, from.size(), to);
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace strata
