#include "validation/files_check.h"

#include <gtest/gtest.h>

#include "validation/test_checkpoint.h"

namespace strata {
namespace {

FilesReport check(const std::filesystem::path& folder) {
  ThreadPool pool(2);
  return check_files(folder, pool);
}

std::string all(const FilesReport& report) {
  std::string text;
  for (const std::string& p : report.problems) text += p + "\n";
  return text;
}

/// One problem, whose sentence has all of `parts`.
void expect_one(const FilesReport& report, const std::vector<std::string>& parts) {
  EXPECT_EQ(report.problems.size(), 1u) << all(report);
  for (const std::string& part : parts)
    EXPECT_NE(all(report).find(part), std::string::npos) << part << "\nin: " << all(report);
}

constexpr const char* kScale = "backbone.layers.0.mixer.in_proj.weight_scale";

TEST(FilesCheck, FixturesHaveNoProblems) {
  for (const char* name :
       {"tiny-dense-bf16", "tiny-nano-bf16", "tiny-nano-fp8", "tiny-nano-nvfp4", "tiny-super-mixed"}) {
    const FilesReport report = check(kCheckpoints / name);
    EXPECT_TRUE(report.problems.empty()) << name << "\n" << all(report);
    EXPECT_GT(report.tensors, 10);
  }
}

TEST(FilesCheck, BlockScalesThatAreNaNOrNegativeAreCountedAndPlaced) {
  TestFolder folder;
  folder.copy("tiny-nano-nvfp4");
  folder.patch(kScale, 1, "\x7f");
  folder.patch(kScale, 6, "\xb8");
  expect_one(check(folder.path()), {kScale, "2 of", "block scales", "[0, 1]"});
}

TEST(FilesCheck, InfiniteWeightsAreFound) {
  TestFolder folder;
  folder.copy("tiny-nano-nvfp4");
  folder.patch("backbone.norm_f.weight", 4, std::string("\x80\x7f", 2));
  expect_one(check(folder.path()), {"backbone.norm_f.weight", "1 of", "NaN or infinite", "[2]"});
}

TEST(FilesCheck, GlobalScalesMustBeAboveZero) {
  TestFolder folder;
  folder.copy("tiny-nano-nvfp4");
  folder.patch("backbone.layers.0.mixer.in_proj.weight_scale_2", 0, std::string(4, '\0'));
  expect_one(check(folder.path()), {"backbone.layers.0.mixer.in_proj.weight_scale_2", "above 0"});
}

TEST(FilesCheck, AllMissingAndSuperfluousTensorsAreListed) {
  TestFolder folder;
  folder.copy("tiny-nano-nvfp4");
  folder.replace("model.safetensors", "\"backbone.norm_f.weight\"", "\"backbone.norm_x.weight\"");
  folder.replace("model.safetensors", "\"backbone.layers.0.norm.weight\"", "\"backbone.layers.0.nrom.weight\"");
  const FilesReport report = check(folder.path());
  EXPECT_EQ(report.problems.size(), 4u) << all(report);
  for (const char* name : {"backbone.norm_f.weight is missing", "backbone.norm_x.weight (",
                           "backbone.layers.0.norm.weight is missing", "backbone.layers.0.nrom.weight ("})
    EXPECT_NE(all(report).find(name), std::string::npos) << name << "\nin: " << all(report);
}

TEST(FilesCheck, ScalesOfAMissingWeightAreNoProblemsOfTheirOwn) {
  TestFolder folder;
  folder.copy("tiny-nano-nvfp4");
  folder.replace("model.safetensors", "\"backbone.layers.0.mixer.in_proj.weight\"",
                 "\"mtp.bone.layers.0.mixer.in_proj.weight\"");
  FilesReport report = check(folder.path());
  expect_one(report, {"backbone.layers.0.mixer.in_proj.weight is missing"});
  EXPECT_EQ(report.mtp_tensors, 1);
}

TEST(FilesCheck, AConfigurationOfOtherWeightsNamesEveryTensor) {
  TestFolder folder;
  folder.copy("tiny-nano-bf16");
  folder.replace("config.json", "\"vocab_size\": ", "\"vocab_size\": 1");
  const FilesReport report = check(folder.path());
  EXPECT_EQ(report.problems.size(), 2u) << all(report);
  EXPECT_NE(all(report).find("lm_head.weight should be"), std::string::npos) << all(report);
}

TEST(FilesCheck, DeclarationsThatTensorsContradictAreProblems) {
  TestFolder folder;
  folder.copy("tiny-nano-nvfp4");
  folder.replace("hf_quant_config.json", "\"lm_head\"", "\"lm_hEad\"");
  expect_one(check(folder.path()), {"lm_head is declared NVFP4, but its tensor is bf16"});
}

TEST(FilesCheck, EveryBrokenShardIsNamed) {
  TestFolder folder;
  folder.copy("tiny-dense-bf16");
  const auto file = folder.path() / "model.safetensors";
  std::filesystem::copy(file, folder.path() / "a.safetensors");
  std::filesystem::copy(file, folder.path() / "b.safetensors");
  std::filesystem::remove(file);
  std::filesystem::resize_file(folder.path() / "a.safetensors", 1000);
  std::filesystem::resize_file(folder.path() / "b.safetensors", 2000);
  std::ofstream(folder.path() / "model.safetensors.index.json")
      << R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "c.safetensors"}})";
  const FilesReport report = check(folder.path());
  EXPECT_EQ(report.problems.size(), 3u) << all(report);
  for (const char* name : {"a.safetensors", "b.safetensors", "c.safetensors"})
    EXPECT_NE(all(report).find(name), std::string::npos) << name << "\nin: " << all(report);
}

}  // namespace
}  // namespace strata
