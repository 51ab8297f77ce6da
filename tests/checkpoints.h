// The checkpoints that whole-system tests run on.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <vector>

namespace strata {

inline const std::filesystem::path kSource = STRATA_SOURCE_DIR;
inline const std::filesystem::path kDemo = kSource / "models/demo";

/// A tiny one of random weights for every release format, below the source folder.
inline std::vector<std::string> tiny_checkpoints() {
  std::vector<std::string> folders;
  for (const char* name : {"tiny-dense-bf16", "tiny-nano-bf16", "tiny-nano-fp8", "tiny-nano-nvfp4", "tiny-super-mixed"})
    folders.push_back(std::string("tests/fixtures/checkpoints/") + name);
  return folders;
}
inline std::vector<std::string> all_checkpoints() {
  std::vector<std::string> folders = tiny_checkpoints();
  folders.emplace_back("models/demo");
  return folders;
}

/// The folder's own name.
inline std::string name_of_folder(const std::string& folder) {
  return std::filesystem::path(folder).filename().string();
}
/// `text` as a name of a test.
inline std::string test_name(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return text;
}
inline std::string name_of_checkpoint_test(const testing::TestParamInfo<std::string>& test) {
  return test_name(name_of_folder(test.param));
}

}  // namespace strata
