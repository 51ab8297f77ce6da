// Model folders as they are found in the wild: whole, sharded, half fetched, and of other kinds.
#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoint/shard_index.h"
#include "checkpoint/test_folder.h"

namespace strata {
namespace {

/// A file of U8 tensors of one element each.
std::string file_of(const std::vector<std::string>& names) {
  std::string header = "{";
  for (std::size_t i = 0; i < names.size(); ++i)
    header += (i ? ",\"" : "\"") + names[i] + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) +
              "," + std::to_string(i + 1) + "]}";
  return safetensors_file(header + "}", names.size());
}

constexpr const char* kShard1 = "model-00001-of-00002.safetensors";
constexpr const char* kShard2 = "model-00002-of-00002.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// Tensors "a" and "c" in shard 1, "b" in shard 2.
void write_sharded(const TestFolder& folder) {
  folder.write("config.json", "{}");
  folder.write(kShard1, file_of({"a", "c"}));
  folder.write(kShard2, file_of({"b"}));
  folder.write(kIndex, std::string(R"({"metadata":{"total_size":3,"x":[{}]},"weight_map":{"c":")") + kShard1 +
                           R"(","b":")" + kShard2 + R"(","a":")" + kShard1 + "\"}}");
}

std::string refusal(const TestFolder& folder) {
  const std::string message = message_of([&] { Checkpoint::open(folder.path()); });
  expect_parts(message, {folder.path().string()});
  return message;
}

TEST(Checkpoint, OpensASingleFile) {
  const TestFolder folder;
  folder.write("config.json", R"({"model_type":"nemotron_h"})");
  folder.write("generation_config.json", R"({"eos_token_id":[2,11]})");
  const std::string file = file_of({"b", "a"});
  folder.write("model.safetensors", file);
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.folder(), folder.path());
  EXPECT_EQ(checkpoint.config()["model_type"], "nemotron_h");
  EXPECT_EQ(checkpoint.generation_config()["eos_token_id"][1], 11);
  EXPECT_EQ(checkpoint.shards(), 1);
  EXPECT_EQ(checkpoint.file_bytes(), static_cast<std::int64_t>(file.size()));
  EXPECT_FALSE(checkpoint.quant_config().has_value());
  EXPECT_TRUE(checkpoint.warnings().empty());
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.find("a"), &checkpoint.tensors()[0]);
  EXPECT_EQ(checkpoint.find("b"), &checkpoint.tensors()[1]);
  for (const char* name : {"", "aa", "c"}) EXPECT_EQ(checkpoint.find(name), nullptr) << name;
}

TEST(Checkpoint, OpensShardsThroughLinks) {
  const TestFolder cache, folder;
  write_sharded(cache);
  for (const auto& entry : std::filesystem::directory_iterator(cache.path()))
    std::filesystem::create_symlink(entry.path(), folder.path() / entry.path().filename());
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.shards(), 2);
  EXPECT_TRUE(checkpoint.generation_config().is_object());
  ASSERT_EQ(checkpoint.tensors().size(), 3u);
  EXPECT_EQ(checkpoint.tensors()[1].name, "b");
  EXPECT_EQ(checkpoint.tensors()[1].bytes.file()->path().filename(), kShard2);
  EXPECT_EQ(checkpoint.file_bytes(), static_cast<std::int64_t>(file_of({"a", "c"}).size() + file_of({"b"}).size()));
}

TEST(Checkpoint, PathsThatAreNoModelFolderAreRefused) {
  const TestFolder folder;
  expect_parts(message_of([&] { Checkpoint::open(folder.path() / "none"); }), {"none", "found nothing"});
  const auto file = folder.write("model.gguf", "GGUF");
  expect_parts(message_of([&] { Checkpoint::open(file); }), {"model.gguf", "found a file", "give the folder"});
  expect_parts(refusal(folder), {"config.json", "none beside model.gguf"});
}

TEST(Checkpoint, FoldersWithoutSafetensorsSayWhatIsThere) {
  const TestFolder folder;
  folder.write("config.json", "{}");
  expect_parts(refusal(folder), {"model.safetensors", kIndex, "no weights at all"});
  folder.write("pytorch_model.bin", "");
  folder.write("b.gguf", "");
  folder.write("a.safetensors", "");
  expect_parts(refusal(folder), {"found only a.safetensors, b.gguf, pytorch_model.bin;", "convert"});
  for (int i = 0; i < 10; ++i) folder.write("z" + std::to_string(i) + ".bin", "");
  expect_parts(refusal(folder), {"z0.bin, z1.bin and 8 more"});
}

TEST(Checkpoint, BrokenJsonIsAnErrorOfItsFile) {
  for (const char* name : {"config.json", "generation_config.json", "hf_quant_config.json"}) {
    const TestFolder folder;
    folder.write("config.json", "{}");
    folder.write("model.safetensors", file_of({"a"}));
    folder.write(name, "{\"a\":");
    expect_parts(refusal(folder), {name, "expected valid JSON"});
    folder.write(name, "[]");
    expect_parts(refusal(folder), {name, "expected a JSON object, found array"});
  }
}

TEST(Checkpoint, ADanglingLinkIsAnErrorOfItsFile) {
  const TestFolder folder;
  folder.write("config.json", "{}");
  std::filesystem::create_symlink("../blobs/0", folder.path() / "model.safetensors");
  expect_parts(refusal(folder), {"model.safetensors", "can't be opened"});
}

TEST(Checkpoint, AMissingShardIsNamed) {
  const TestFolder folder;
  write_sharded(folder);
  std::filesystem::remove(folder.path() / kShard2);
  expect_parts(refusal(folder), {kShard2, "no such file", "1 of 2 shards are missing"});
}

TEST(Checkpoint, ABrokenShardIsNamed) {
  const TestFolder folder;
  write_sharded(folder);
  folder.write(kShard2, file_of({"b"}) + "x");
  expect_parts(refusal(folder), {kShard2, "MetadataIncompleteBuffer"});
}

TEST(Checkpoint, IndexAndShardsMustNameTheSameTensors) {
  const TestFolder folder;
  write_sharded(folder);
  folder.write(kShard1, file_of({"a"}));
  expect_parts(refusal(folder), {kShard1, "tensor \"c\"", "expected in this shard", "found in none"});
  folder.write(kShard1, file_of({"a", "c", "d"}));
  expect_parts(refusal(folder), {kShard1, "tensor \"d\"", "weight_map", "only in the shard"});
  folder.write(kShard1, file_of({"a", "aa", "c"}));
  expect_parts(refusal(folder), {kShard1, "tensor \"aa\"", "only in the shard"});
  folder.write(kShard1, file_of({"a"}));
  folder.write(kShard2, file_of({"b", "c"}));
  expect_parts(refusal(folder), {kShard1, "tensor \"c\"", "found in", kShard2});
}

TEST(Checkpoint, ATensorInTwoShardsIsRefused) {
  const TestFolder folder;
  write_sharded(folder);
  folder.write(kShard2, file_of({"b", "c"}));
  expect_parts(refusal(folder), {"tensor \"c\"", "in one shard", kShard1, kShard2});
}

TEST(Checkpoint, BrokenIndicesAreRefused) {
  struct Case {
    const char* json;
    std::vector<std::string> parts;
  };
  const Case cases[] = {
      {"{", {"expected valid JSON"}},
      {"[]", {"an object with weight_map", "an array"}},
      {"7", {"an object with weight_map", "a number"}},
      {"{}", {"weight_map", "found none"}},
      {R"({"x":{"weight_map":{"a":"s.safetensors"}}})", {"weight_map", "found none"}},
      {R"({"weight_map":{}})", {"tensors in weight_map", "found none"}},
      {R"({"weight_map":[]})", {"weight_map", "an array"}},
      {R"({"weight_map":"x"})", {"weight_map to be an object", "a string"}},
      {R"({"weight_map":{"a":1}})", {"tensor \"a\"", "the name of a shard", "a number"}},
      {R"({"weight_map":{"a":{}}})", {"tensor \"a\"", "an object"}},
      {R"({"weight_map":{"a":["s"]}})", {"tensor \"a\"", "an array"}},
      {R"({"weight_map":{"a":"s.safetensors","a":"s.safetensors"}})", {"\"a\" twice"}},
      {R"({"weight_map":{"a":"s.safetensors"},"weight_map":{"b":"s.safetensors"}})", {"weight_map once"}},
      {R"({"weight_map":{"a":"../s.safetensors"}})", {"tensor \"a\"", "in the folder itself", "../s"}},
      {R"({"weight_map":{"a":"/etc/s.safetensors"}})", {"tensor \"a\"", "in the folder itself"}},
      {R"({"weight_map":{"a":"x\\s.safetensors"}})", {"tensor \"a\"", "in the folder itself"}},
      {R"({"weight_map":{"a":"s\u0000.safetensors"}})", {"tensor \"a\"", "in the folder itself"}},
      {R"({"weight_map":{"a":".."}})", {"tensor \"a\"", "in the folder itself"}},
      {R"({"weight_map":{"a":""}})", {"tensor \"a\"", "in the folder itself"}},
      {R"({"weight_map":{"a":"s.bin"}})", {"tensor \"a\"", ".safetensors file"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.json);
    expect_parts(message_of([&] { parse_shard_index(c.json, "i.json"); }), {"i.json: "});
    expect_parts(message_of([&] { parse_shard_index(c.json, "i.json"); }), c.parts);
  }
  const std::string deep = "{\"x\":" + std::string(100, '[') + std::string(100, ']') + "}";
  expect_parts(message_of([&] { parse_shard_index(deep, "i.json"); }), {"64 levels"});
}

TEST(Checkpoint, ASingleFileComesBeforeAnIndexWithAWarning) {
  const TestFolder folder;
  write_sharded(folder);
  folder.write("model.safetensors", file_of({"x"}));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_NE(checkpoint.find("x"), nullptr);
  ASSERT_EQ(checkpoint.warnings().size(), 1u);
  expect_parts(checkpoint.warnings()[0], {"model.safetensors", kIndex});
}

constexpr const char* kHfNvfp4 = R"({"producer":{"name":"modelopt","version":"0.43.0"},
    "quantization":{"quant_algo":"NVFP4","kv_cache_quant_algo":"FP8","exclude_modules":["lm_head"]}})";

Checkpoint open_declared(const TestFolder& folder, const std::string& config, const std::string& own = kHfNvfp4) {
  folder.write("config.json", config);
  folder.write("model.safetensors", file_of({"backbone.layers.0.mixer.in_proj.weight", "lm_head.weight"}));
  if (!own.empty()) folder.write("hf_quant_config.json", own);
  return Checkpoint::open(folder.path());
}

TEST(Checkpoint, QuantisationIsReadFromEitherFile) {
  const TestFolder one, two, none;
  const std::string nested = R"({"quantization_config":{"quant_method":"modelopt","quant_algo":"FP8"}})";
  EXPECT_EQ(open_declared(one, "{}").quant_config()->description(), "modelopt 0.43.0, NVFP4");
  EXPECT_EQ(open_declared(two, nested, "").quant_config()->description(), "modelopt, FP8");
  EXPECT_FALSE(open_declared(none, R"({"quantization_config":null})", "").quant_config().has_value());
}

TEST(Checkpoint, DeclarationsThatAgreeGiveNoWarning) {
  const TestFolder folder;
  const auto checkpoint =
      open_declared(folder, R"({"quantization_config":{"quant_method":"modelopt","quant_algo":"nvfp4",
      "ignore":["lm*"],"kv_cache_scheme":{"num_bits":8,"type":"float"}}})");
  EXPECT_TRUE(checkpoint.warnings().empty()) << checkpoint.warnings()[0];
}

TEST(Checkpoint, DeclarationsThatContradictGiveWarningsAndHfQuantConfigCounts) {
  const TestFolder folder;
  const auto checkpoint =
      open_declared(folder, R"({"quantization_config":{"quant_method":"modelopt","quant_algo":"FP8"}})");
  ASSERT_EQ(checkpoint.warnings().size(), 2u);
  expect_parts(checkpoint.warnings()[0], {"keys and values FP8", "only the former"});
  expect_parts(checkpoint.warnings()[1],
               {"\"backbone.layers.0.mixer.in_proj\" is NVFP4 by the former and FP8 by the latter", "1 more"});
  EXPECT_EQ(checkpoint.quant_config()->declared("lm_head"), QuantAlgorithm::none);
}

TEST(Checkpoint, AnUnusableSecondDeclarationIsAWarning) {
  const TestFolder folder;
  const auto checkpoint = open_declared(folder, R"({"quantization_config":{"quant_method":"gptq"}})");
  ASSERT_EQ(checkpoint.warnings().size(), 1u);
  expect_parts(checkpoint.warnings()[0], {"config.json: quantization_config", "gptq", "hf_quant_config.json counts"});
}

TEST(Checkpoint, UnusableDeclarationsAreRefused) {
  const TestFolder one, two;
  expect_parts(message_of([&] { open_declared(one, R"({"quantization_config":{"quant_method":"gptq"}})", ""); }),
               {"config.json: quantization_config.quant_method", "gptq"});
  expect_parts(message_of([&] { open_declared(two, "{}", R"({"producer":{}})"); }),
               {"hf_quant_config.json", "\"quantization\""});
}

/// What the type of a weight says its module is.
bool is_as_declared(QuantAlgorithm declared, StoredType type) {
  if (type == StoredType::U8) return declared == QuantAlgorithm::nvfp4 || declared == QuantAlgorithm::w4a16_nvfp4;
  return declared == (type == StoredType::F8_E4M3 ? QuantAlgorithm::fp8 : QuantAlgorithm::none);
}

void expect_whole(const std::filesystem::path& folder) {
  SCOPED_TRACE(folder.string());
  const Checkpoint checkpoint = Checkpoint::open(folder);
  EXPECT_TRUE(checkpoint.warnings().empty()) << checkpoint.warnings()[0];
  EXPECT_GT(checkpoint.tensors().size(), 50u);
  for (const TensorEntry& tensor : checkpoint.tensors()) {
    EXPECT_EQ(checkpoint.find(tensor.name), &tensor);
    constexpr std::string_view kWeight = ".weight";
    if (!tensor.name.ends_with(kWeight) || !checkpoint.quant_config()) continue;
    const auto module = std::string_view(tensor.name).substr(0, tensor.name.size() - kWeight.size());
    EXPECT_TRUE(is_as_declared(checkpoint.quant_config()->declared(module), tensor.type)) << tensor.name;
  }
}

TEST(Checkpoint, FixturesOpenAndAreWhatTheyDeclare) {
  for (const char* name : {"tiny-dense-bf16", "tiny-nano-bf16", "tiny-nano-fp8", "tiny-nano-nvfp4", "tiny-super-mixed"})
    expect_whole(std::filesystem::path(STRATA_SOURCE_DIR "/tests/fixtures/checkpoints") / name);
}

TEST(Checkpoint, TheDemoModelOpensAndIsWhatItDeclares) { expect_whole(STRATA_SOURCE_DIR "/models/demo"); }

}  // namespace
}  // namespace strata
