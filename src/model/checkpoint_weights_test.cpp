// Weights put together from a checkpoint's tensors, in every format, and what is refused.
#include "model/checkpoint_weights.h"

#include <gtest/gtest.h>

#include "model/model_test_support.h"

namespace strata {
namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

/// A checkpoint of one linear layer "w", [16, 32], of a format.
TestCheckpoint with_linear(const std::string& format, float scale = 0.5f) {
  TestCheckpoint c;
  if (format == "bf16") c.add("w.weight", StoredType::BF16, {16, 32});
  if (format == "f32") c.add("w.weight", StoredType::F32, {16, 32});
  if (format == "fp8") {
    c.add("w.weight", StoredType::F8_E4M3, {16, 32});
    c.add_scalar("w.weight_scale", scale);
    c.add_scalar("w.input_scale", 0.25f);
  }
  if (format == "nvfp4" || format == "packed") {
    const bool packed = format == "packed";
    c.add(packed ? "w.weight_packed" : "w.weight", StoredType::U8, {16, 16});
    c.add("w.weight_scale", StoredType::F8_E4M3, {16, 2});
    c.add_scalar(packed ? "w.weight_global_scale" : "w.weight_scale_2", scale);
    c.add_scalar(packed ? "w.input_global_scale" : "w.input_scale", 0.25f);
  }
  return c;
}

LinearWeight linear_of(const TestCheckpoint& c) {
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  LinearWeight w = weights.linear("w", 16, 32);
  EXPECT_TRUE(weights.unused({}).empty()) << "a scale was not looked at";
  EXPECT_EQ(out_features(w), 16);
  EXPECT_EQ(in_features(w), 32);
  return w;
}
std::string refusal(const TestCheckpoint& c) {
  return message_of([&] {
    const Checkpoint checkpoint = c.open();
    CheckpointWeights(checkpoint).linear("w", 16, 32);
  });
}

TEST(CanonicalName, MapsTheSpellingsOfTheFamily) {
  EXPECT_EQ(canonical_name("backbone.layers.3.norm.weight"), "backbone.layers.3.norm.weight");
  EXPECT_EQ(canonical_name("model.layers.3.mixer.D"), "backbone.layers.3.mixer.D");
  EXPECT_EQ(canonical_name("model.embed_tokens.weight"), "backbone.embeddings.weight");
  EXPECT_EQ(canonical_name("model.norm.weight"), "backbone.norm_f.weight");
  EXPECT_EQ(canonical_name("backbone.norm.weight"), "backbone.norm_f.weight");
  EXPECT_EQ(canonical_name("language_model.backbone.embeddings.weight"), "backbone.embeddings.weight");
  EXPECT_EQ(canonical_name("language_model.model.norm.weight"), "backbone.norm_f.weight");
  EXPECT_EQ(canonical_name("language_model.lm_head.weight"), "lm_head.weight");
  EXPECT_EQ(canonical_name("backbone.normal.weight"), "backbone.normal.weight");
  EXPECT_EQ(canonical_name("mtp.layers.0.norm.weight"), "mtp.layers.0.norm.weight");
  EXPECT_EQ(canonical_name("model."), "backbone.");
  EXPECT_EQ(canonical_name(""), "");
}

TEST(CheckpointWeights, FindsEveryFormat) {
  for (const std::string format : {"bf16", "f32", "fp8", "nvfp4"}) {
    SCOPED_TRACE(format);
    EXPECT_EQ(format_name(linear_of(with_linear(format))), format);
  }
  EXPECT_EQ(std::get<Fp8Weight>(linear_of(with_linear("fp8"))).scale, 0.5f);
  EXPECT_EQ(std::get<Nvfp4Weight>(linear_of(with_linear("nvfp4"))).global_scale, 0.5f);
}

TEST(CheckpointWeights, CompressedTensorsKeepTheInverseOfTheGlobalScale) {
  EXPECT_EQ(std::get<Nvfp4Weight>(linear_of(with_linear("packed", 4))).global_scale, 0.25f);
  TestCheckpoint both = with_linear("packed", 4);
  both.tensors.erase("w.weight_global_scale");
  both.add_scalar("w.weight_scale_2", 4);
  expect_parts(refusal(both), {"w.weight_global_scale", "missing"});
}

TEST(CheckpointWeights, AnInverseScaleTooSmallToInvertIsRefused) {
  expect_parts(refusal(with_linear("packed", 1e-39f)), {"w.weight_global_scale", "scale"});
}

TEST(CheckpointWeights, InputScalesNeedNotBeThere) {
  for (const std::string format : {"fp8", "nvfp4", "packed"}) {
    TestCheckpoint c = with_linear(format);
    c.tensors.erase(format == "packed" ? "w.input_global_scale" : "w.input_scale");
    linear_of(c);
  }
}

TEST(CheckpointWeights, ScalarsHaveRankZeroOrOne) {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{}, {1}, {1, 1}}) {
    TestCheckpoint c = with_linear("fp8");
    c.add("w.weight_scale", shape, {2.0f});
    EXPECT_EQ(std::get<Fp8Weight>(linear_of(c)).scale, 2);
  }
}

TEST(CheckpointWeights, ValuesAreTheTensorsBytes) {
  TestCheckpoint c;
  std::vector<float> values(6);
  for (std::size_t i = 0; i < 6; ++i) values[i] = float(i) - 2.5f;
  c.add("w.weight", {2, 3}, values);
  const Checkpoint checkpoint = c.open();
  const LinearWeight w = CheckpointWeights(checkpoint).linear("w", 2, 3);
  std::vector<float> row(3);
  decode_row(w, 1, row);
  EXPECT_EQ(row, (std::vector<float>{0.5f, 1.5f, 2.5f}));
}

struct Refused {
  const char* what;
  std::string format;
  std::string tensor;
  StoredType type;
  std::vector<std::int64_t> shape;
  std::vector<std::string> parts;
};

TEST(CheckpointWeights, MessagesNameTheFileTheTensorWhatIsExpectedAndWhatWasFound) {
  for (const Refused& r : std::vector<Refused>{
           {"shape", "bf16", "w.weight", StoredType::BF16, {32, 16}, {"[16, 32]", "BF16 [32, 16]"}},
           {"rank", "bf16", "w.weight", StoredType::BF16, {512}, {"[16, 32]", "BF16 [512]"}},
           {"shape", "fp8", "w.weight", StoredType::F8_E4M3, {16, 16}, {"[16, 32]", "F8_E4M3 [16, 16]"}},
           {"codes", "nvfp4", "w.weight", StoredType::U8, {16, 32}, {"U8 [16, 16]", "U8 [16, 32]"}},
           {"codes", "packed", "w.weight_packed", StoredType::I8, {16, 16}, {"U8 [16, 16]", "I8 [16, 16]"}},
           {"F16", "bf16", "w.weight", StoredType::F16, {16, 32}, {"F16 [16, 32]", "BF16, F32, F8_E4M3 and NVFP4"}},
           {"F8_E5M2", "bf16", "w.weight", StoredType::F8_E5M2, {16, 32}, {"F8_E5M2", "F8_E4M3"}},
           {"I64", "bf16", "w.weight", StoredType::I64, {16, 32}, {"I64 [16, 32]"}},
           {"channels", "fp8", "w.weight_scale", StoredType::F32, {16, 1}, {"F32 [16, 1]", "one scale a tensor"}},
           {"blocks", "fp8", "w.weight_scale", StoredType::F32, {1, 2}, {"F32 [1, 2]", "one scale a tensor"}},
           {"type", "fp8", "w.weight_scale", StoredType::BF16, {}, {"one F32 scale", "BF16 []"}},
           {"type", "fp8", "w.input_scale", StoredType::F64, {}, {"one F32 scale", "F64 []"}},
           {"type", "nvfp4", "w.weight_scale", StoredType::F32, {16, 2}, {"F8_E4M3 [16, 2]", "F32 [16, 2]"}},
           {"shape", "nvfp4", "w.weight_scale", StoredType::F8_E4M3, {2, 16}, {"F8_E4M3 [16, 2]", "[2, 16]"}},
           {"rank", "nvfp4", "w.weight_scale_2", StoredType::F32, {16}, {"one F32 scale", "F32 [16]"}},
       }) {
    SCOPED_TRACE(r.format + " " + r.tensor + " " + r.what);
    TestCheckpoint c = with_linear(r.format);
    c.add(r.tensor, r.type, r.shape);
    const std::string message = refusal(c);
    expect_parts(message, r.parts);
    expect_parts(message, {"model.safetensors: " + r.tensor + " "});
  }
}

TEST(CheckpointWeights, AMissingTensorIsNamed) {
  for (const auto& [format, tensor] :
       std::vector<std::pair<std::string, std::string>>{{"bf16", "w.weight"},
                                                        {"fp8", "w.weight_scale"},
                                                        {"nvfp4", "w.weight_scale"},
                                                        {"nvfp4", "w.weight_scale_2"},
                                                        {"packed", "w.weight_scale"},
                                                        {"packed", "w.weight_global_scale"}}) {
    TestCheckpoint c = with_linear(format);
    c.tensors.erase(tensor);
    expect_parts(refusal(c), {tensor + " is missing", "download"});
  }
}

TEST(CheckpointWeights, AScaleIsFiniteAndAboveZero) {
  for (const float value : {0.0f, -0.0f, -1.0f, kNan, kInfinity, -kInfinity})
    for (const auto& [format, tensor] :
         std::vector<std::pair<std::string, std::string>>{{"fp8", "w.weight_scale"},
                                                          {"fp8", "w.input_scale"},
                                                          {"nvfp4", "w.weight_scale_2"},
                                                          {"nvfp4", "w.input_scale"},
                                                          {"packed", "w.weight_global_scale"},
                                                          {"packed", "w.input_global_scale"}}) {
      SCOPED_TRACE(tensor + " = " + std::to_string(value));
      TestCheckpoint c = with_linear(format);
      c.add_scalar(tensor, value);
      expect_parts(refusal(c), {tensor, "finite scale above 0"});
    }
}

TEST(CheckpointWeights, Nvfp4NeedsWholeBlocks) {
  TestCheckpoint c;
  c.add("w.weight", StoredType::U8, {16, 12});
  const Checkpoint checkpoint = c.open();
  const std::string message = message_of([&] { CheckpointWeights(checkpoint).linear("w", 16, 24); });
  expect_parts(message, {"w.weight", "24 columns", "blocks of 16"});
}

TEST(CheckpointWeights, ExpertsAreOneTensorEachOrOneForAll) {
  TestCheckpoint c;
  for (const int e : {0, 1}) c.add("a." + std::to_string(e) + ".up_proj.weight", StoredType::BF16, {4, 8});
  std::vector<float> fused(2 * 4 * 8);
  for (std::size_t i = 0; i < fused.size(); ++i) fused[i] = float(i);
  c.add("b.up_proj", {2, 4, 8}, fused);
  c.add("c.up_proj", StoredType::BF16, {2, 8, 4});
  c.add("d.up_proj", StoredType::F8_E4M3, {2, 4, 8});
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  EXPECT_EQ(weights.experts("a", "up_proj", 2, 4, 8).size(), 2u);
  const auto bank = weights.experts("b", "up_proj", 2, 4, 8);
  ASSERT_EQ(bank.size(), 2u);
  std::vector<float> row(8);
  decode_row(bank[1], 2, row);
  EXPECT_EQ(row[3], 32 + 16 + 3);
  EXPECT_EQ(weights.unused({}).size(), 2u);
  expect_parts(message_of([&] { weights.experts("c", "up_proj", 2, 4, 8); }),
               {"c.up_proj", "[2, 4, 8]", "BF16 [2, 8, 4]"});
  expect_parts(message_of([&] { weights.experts("d", "up_proj", 2, 4, 8); }), {"d.up_proj", "BF16 or F32", "F8_E4M3"});
  expect_parts(message_of([&] { weights.experts("e", "up_proj", 2, 4, 8); }), {"e.0.up_proj.weight is missing"});
}

TEST(CheckpointWeights, ExpertsOfOneBankMayDifferInFormat) {
  TestCheckpoint c;
  c.add("a.0.up_proj.weight", StoredType::BF16, {4, 16});
  c.add("a.1.up_proj.weight", StoredType::F8_E4M3, {4, 16});
  c.add_scalar("a.1.up_proj.weight_scale", 1);
  const Checkpoint checkpoint = c.open();
  const auto bank = CheckpointWeights(checkpoint).experts("a", "up_proj", 2, 4, 16);
  EXPECT_EQ(format_name(bank[0]), "bf16");
  EXPECT_EQ(format_name(bank[1]), "fp8");
}

TEST(CheckpointWeights, FloatsAreReadInBf16AndF32AndInShapesOfTheSameOrder) {
  TestCheckpoint c;
  c.add("f32", {2, 1, 3}, {1, 2, 3, 4, 5, 6});
  c.add("bf16", StoredType::BF16, {2}, {std::byte{0x80}, std::byte{0x3f}, std::byte{0x00}, std::byte{0xc0}});
  c.add("grouped", {2, 3}, {1, 2, 3, 4, 5, 6});
  c.add("turned", {3, 2}, {1, 2, 3, 4, 5, 6});
  c.add("short", {5}, {1, 2, 3, 4, 5});
  c.add("half", StoredType::F16, {6});
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  EXPECT_EQ(weights.floats("f32", {2, 3}), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(weights.floats("bf16", {2}), (std::vector<float>{1, -2}));
  EXPECT_EQ(weights.floats("grouped", {6}), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  expect_parts(message_of([&] { weights.floats("turned", {2, 3}); }), {"turned", "[2, 3]", "F32 [3, 2]"});
  expect_parts(message_of([&] { weights.floats("short", {6}); }), {"short", "[6]", "F32 [5]"});
  expect_parts(message_of([&] { weights.floats("half", {6}); }), {"half", "F32 or BF16", "F16 [6]"});
  expect_parts(message_of([&] { weights.floats("none", {6}); }), {"none is missing"});
}

TEST(CheckpointWeights, AScalarThatIsNotThereIsNothing) {
  TestCheckpoint c;
  c.add_scalar("k_scale", 0.75f);
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  EXPECT_EQ(weights.scalar("k_scale"), 0.75f);
  EXPECT_EQ(weights.scalar("v_scale"), std::nullopt);
}

TEST(CheckpointWeights, TwoTensorsOfOneCanonicalNameAreRefused) {
  TestCheckpoint c;
  c.add("model.norm.weight", StoredType::BF16, {4});
  c.add("backbone.norm_f.weight", StoredType::BF16, {4});
  const Checkpoint checkpoint = c.open();
  expect_parts(message_of([&] { CheckpointWeights weights(checkpoint); }),
               {"model.norm.weight", "backbone.norm_f.weight", "the same weight"});
}

TEST(CheckpointWeights, UnusedLeavesOutWhatWasTakenAndWhatIsIgnored) {
  TestCheckpoint c = with_linear("fp8");
  c.add("mtp.layers.0.norm.weight", StoredType::BF16, {4});
  c.add("vision.weight", StoredType::BF16, {4});
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  weights.linear("w", 16, 32);
  const auto unused = weights.unused({"mtp."});
  ASSERT_EQ(unused.size(), 1u);
  EXPECT_EQ(unused[0]->name, "vision.weight");
  EXPECT_EQ(weights.unused({}).size(), 2u);
}

TEST(CheckpointWeights, TheTensorCountsWhereTheDeclarationSaysOtherwise) {
  TestCheckpoint c = with_linear("fp8");
  c.add("x.weight", StoredType::BF16, {4, 16});
  c.add("lm_head.weight", StoredType::BF16, {4, 16});
  c.add("experts.up_proj", StoredType::BF16, {2, 4, 16});
  c.quantization = parse_json(R"({"producer": {"name": "modelopt", "version": "0.29.0"},
    "quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}})",
                              "quantization");
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  EXPECT_EQ(format_name(weights.linear("w", 16, 32)), "fp8");
  EXPECT_EQ(format_name(weights.linear("x", 4, 16)), "bf16");
  weights.linear("lm_head", 4, 16);
  ASSERT_EQ(weights.contradictions().size(), 2u);
  expect_parts(weights.contradictions()[0], {"w is declared NVFP4", "its tensor is fp8"});
  expect_parts(weights.contradictions()[1], {"x is declared NVFP4", "its tensor is bf16"});
  weights.experts("experts", "up_proj", 2, 4, 16);
  EXPECT_EQ(weights.contradictions().size(), 3u) << "a fused bank is declared too";
}

TEST(CheckpointWeights, ACheckpointThatAgreesWithItsDeclarationHasNoContradictions) {
  TestCheckpoint c = with_linear("nvfp4");
  c.quantization = parse_json(R"({"producer": {"name": "modelopt", "version": "0.29.0"},
    "quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": []}})",
                              "quantization");
  const Checkpoint checkpoint = c.open();
  CheckpointWeights weights(checkpoint);
  weights.linear("w", 16, 32);
  EXPECT_TRUE(weights.contradictions().empty());
}

}  // namespace
}  // namespace strata
