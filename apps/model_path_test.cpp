#include "apps/model_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

class ModelPath : public testing::Test {
 protected:
  void SetUp() override { fs::remove_all(cache); }
  void TearDown() override { fs::remove_all(cache); }
  fs::path add_snapshot(const std::string& revision, int seconds_ago) {
    const fs::path folder = repository / "snapshots" / revision;
    fs::create_directories(folder);
    std::ofstream(folder / "config.json") << "{}";
    fs::last_write_time(folder, fs::file_time_type::clock::now() - std::chrono::seconds(seconds_ago));
    return folder;
  }
  const fs::path cache = fs::path(testing::TempDir()) / ("strata_model_path_" + std::to_string(getpid()));
  const fs::path repository = cache / "models--org--some.model-1";
};

TEST_F(ModelPath, AnEmptyCacheHasNoModel) {
  EXPECT_EQ(cached_model(cache, "org/some.model-1"), std::nullopt);
  fs::create_directories(repository / "snapshots" / "half");
  EXPECT_EQ(cached_model(cache, "org/some.model-1"), std::nullopt);
}

TEST_F(ModelPath, TheRevisionOfMainComesBeforeANewerOne) {
  const fs::path main = add_snapshot("aaa", 100), newer = add_snapshot("bbb", 10);
  EXPECT_EQ(cached_model(cache, "org/some.model-1"), newer);
  fs::create_directories(repository / "refs");
  std::ofstream(repository / "refs" / "main") << "aaa\n";
  EXPECT_EQ(cached_model(cache, "org/some.model-1"), main);
  std::ofstream(repository / "refs" / "main") << "gone";
  EXPECT_EQ(cached_model(cache, "org/some.model-1"), newer);
  std::ofstream(repository / "refs" / "main") << "../../../elsewhere";
  EXPECT_EQ(cached_model(cache, "org/some.model-1"), newer);
}

TEST_F(ModelPath, NamesThatWouldLeaveTheCacheAreNotLookedUp) {
  for (const char* name : {"../x", "org/..", "org/", "/org", "a/b/c", "model", ""}) {
    EXPECT_EQ(cached_model(cache, name), std::nullopt) << name;
  }
}

TEST_F(ModelPath, TheCacheIsWhereHuggingFacePutsIt) {
  for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) unsetenv(name);
  setenv("HOME", "/home/x", 1);
  EXPECT_EQ(huggingface_cache(), "/home/x/.cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/cache", 1);
  EXPECT_EQ(huggingface_cache(), "/cache/huggingface/hub");
  setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(huggingface_cache(), "/hf/hub");
  setenv("HF_HUB_CACHE", cache.c_str(), 1);
  EXPECT_EQ(huggingface_cache(), cache);

  EXPECT_EQ(find_model("/"), "/");
  const fs::path folder = add_snapshot("aaa", 1);
  EXPECT_EQ(find_model("org/some.model-1"), folder);
  try {
    find_model("org/other");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::bad_model);
    EXPECT_NE(std::string(e.what()).find("hf download org/other"), std::string::npos) << e.what();
  }
}

TEST(NamesModel, TellsModelsFromPrompts) {
  for (const char* word : {"/", "./x", "../x", "/no/such", "org/name", "~/x"}) EXPECT_TRUE(names_model(word)) << word;
  for (const char* word : {"", "Hello", "Hello there", "What is 1/2?", "either/or, please", "a/b/c", "./x y"}) {
    EXPECT_FALSE(names_model(word)) << word;
  }
}

}  // namespace
}  // namespace strata
