// Files: what is no regular file is refused, and one that shrank is an error and not a crash.
#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"

namespace strata {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("strata_file_test_" + std::to_string(::getpid()));
    std::ofstream(path_) << "0123456789";
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_;
};

TEST_F(FileTest, ReadsFromAnyOffset) {
  const File file = File::open(path_);
  std::string text(4, '\0');
  file.read(3, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, "3456");
  EXPECT_EQ(file.size(), 10);
}

TEST_F(FileTest, AFileThatShrankIsAnError) {
  const File file = File::open(path_);
  std::filesystem::resize_file(path_, 2);
  std::string text(4, '\0');
  EXPECT_THROW(file.read(0, std::as_writable_bytes(std::span(text))), Error);
}

TEST_F(FileTest, RefusesFoldersFifosAndMissingFiles) {
  EXPECT_THROW(File::open(std::filesystem::temp_directory_path()), Error);
  EXPECT_THROW(File::open(path_ / "none"), Error);
  std::filesystem::remove(path_);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THROW(File::open(path_), Error);
}

}  // namespace
}  // namespace strata
