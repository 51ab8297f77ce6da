#include "validation/synthetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/checkpoint_weights.h"
#include "tensor/weight_formats.h"
#include "validation/synthetic_tensors.h"
#include "validation/test_checkpoint.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigs[] = {"tiny-dense-bf16", "tiny-nano-bf16", "tiny-nano-fp8", "tiny-nano-nvfp4",
                                    "tiny-super-mixed"};

SyntheticSummary write(const std::string& config, const fs::path& out, SyntheticOptions options) {
  return write_synthetic_checkpoint(kCheckpoints / config, out, options);
}

std::string content(const fs::path& path) { return read_text(path, 1 << 30); }

double std_of(const LinearWeight& w) {
  double sum = 0;
  std::vector<float> row(static_cast<std::size_t>(in_features(w)));
  for (std::int64_t r = 0; r < out_features(w); ++r) {
    decode_row(w, r, row);
    for (const float v : row) sum += double{v} * v;
  }
  return std::sqrt(sum / static_cast<double>(out_features(w) * in_features(w)));
}

TEST(Synthetic, PiecesOfATensorDontDependOnHowItIsCut) {
  const ElementTable table = gaussian_elements(StoredType::BF16, 0, 1);
  std::vector<std::byte> whole(2 * 1000), pieces(2 * 1000);
  fill_elements(table, 7, 99, 0, whole);
  fill_elements(table, 7, 99, 0, std::span(pieces).first(2 * 504));
  fill_elements(table, 7, 99, 504, std::span(pieces).subspan(2 * 504));
  EXPECT_EQ(whole, pieces);
  fill_elements(table, 8, 99, 0, pieces);
  EXPECT_NE(whole, pieces);
  fill_elements(table, 7, 98, 0, pieces);
  EXPECT_NE(whole, pieces);
}

TEST(Synthetic, GaussiansHaveTheirMoments) {
  std::vector<float> values(1 << 20);
  fill_elements(gaussian_elements(StoredType::F32, 0.5, 2), 1, 2, 0, std::as_writable_bytes(std::span(values)));
  double mean = 0, square = 0;
  for (const float v : values) mean += v / static_cast<double>(values.size());
  for (const float v : values) square += (v - mean) * (v - mean) / static_cast<double>(values.size());
  EXPECT_NEAR(mean, 0.5, 0.01);
  EXPECT_NEAR(std::sqrt(square), 2, 0.01);
}

TEST(Synthetic, ThreadsAndShardsDontChangeTheTensors) {
  TestFolder folder;
  for (const char* config : kConfigs) {
    const fs::path one = folder.path() / config / "one", two = folder.path() / config / "two",
                   many = folder.path() / config / "many";
    write(config, one, {.seed = 5, .threads = 1});
    write(config, two, {.seed = 5, .threads = 2});
    EXPECT_EQ(content(one / "model.safetensors"), content(two / "model.safetensors"));
    const SyntheticSummary split = write(config, many, {.seed = 5, .shard_bytes = 100'000});
    EXPECT_GT(split.shards, 2);
    const Checkpoint a = Checkpoint::open(one), b = Checkpoint::open(many);
    ASSERT_EQ(a.tensors().size(), b.tensors().size());
    for (std::size_t i = 0; i < a.tensors().size(); ++i) {
      const TensorEntry &x = a.tensors()[i], &y = b.tensors()[i];
      ASSERT_EQ(x.name, y.name);
      ASSERT_EQ(x.description(), y.description());
      std::vector<std::byte> p(static_cast<std::size_t>(x.bytes.size())), q(p.size());
      x.bytes.read(0, p);
      y.bytes.read(0, q);
      ASSERT_EQ(p, q) << x.name;
    }
  }
}

TEST(Synthetic, EveryFormatHasTheSameSpread) {
  TestFolder folder;
  write("tiny-super-mixed", folder.path(), {.seed = 1});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CheckpointWeights weights(checkpoint);
  WeightSurvey survey(checkpoint, weights);
  bind_model(checkpoint, survey);
  std::set<std::string> formats;
  for (const WeightSurvey::Found& f : survey.found()) {
    if (f.request.kind != WeightRequest::Kind::linear || f.request.name == "lm_head") continue;
    const bool residual = f.request.name.ends_with("out_proj") || f.request.name.ends_with("o_proj") ||
                          f.request.name.ends_with("down_proj");
    if (residual) continue;
    formats.insert(std::string(format_name(f.weights[0])));
    EXPECT_NEAR(std_of(f.weights[0]), 0.02, 0.004) << f.request.name << " " << format_name(f.weights[0]);
  }
  EXPECT_GE(formats.size(), 2u);
}

TEST(Synthetic, RefusesAFolderThatHoldsACheckpoint) {
  TestFolder folder;
  write("tiny-dense-bf16", folder.path(), {.seed = 1, .shard_bytes = 100'000});
  try {
    write("tiny-dense-bf16", folder.path(), {.seed = 2});
    FAIL() << "expected an Error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    EXPECT_NE(std::string(e.what()).find("--force"), std::string::npos);
  }
  write("tiny-dense-bf16", folder.path(), {.seed = 2, .replace = true});
  EXPECT_TRUE(Checkpoint::open(folder.path()).warnings().empty()) << "no shards of the old one are left";
}

TEST(Synthetic, DeclaredWidthThatNvfp4CantSplitIsRefused) {
  const Json config = Json::parse(content(kCheckpoints / "tiny-dense-bf16" / "config.json"));
  Json narrow = config;
  narrow["intermediate_size"] = 104;
  const Json declaration = {{"quantization", {{"quant_algo", "NVFP4"}, {"group_size", 16}}}};
  try {
    synthetic_tensors(narrow, QuantConfig::parse(declaration, "test"), "here/config.json", 1);
    FAIL() << "expected an Error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::bad_model);
    EXPECT_NE(std::string(e.what()).find("down_proj is declared NVFP4"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace strata
