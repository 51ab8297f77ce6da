// What declarations of quantisation mean for a module, and which ones are refused.
#include "checkpoint/quant_config.h"

#include <gtest/gtest.h>

#include "checkpoint/test_folder.h"

namespace strata {
namespace {

QuantConfig parse(const std::string& json) { return QuantConfig::parse(parse_json(json, "t"), "f.json"); }

std::string refusal(const std::string& json) {
  const std::string message = message_of([&] { parse(json); });
  expect_parts(message, {"f.json"});
  return message;
}

std::string declared(const QuantConfig& config, std::string_view module) {
  return std::string(name_of(config.declared(module)));
}

constexpr const char* kInProj = "backbone.layers.4.mixer.in_proj";

TEST(QuantConfig, DefaultDeclaresNothing) {
  EXPECT_EQ(QuantConfig().declared(kInProj), QuantAlgorithm::none);
  EXPECT_FALSE(QuantConfig().fp8_kv_cache());
}

TEST(QuantConfig, ReadsHfQuantConfigWholeOrItsQuantizationAlone) {
  const std::string inner =
      R"({"quant_algo":"NVFP4","kv_cache_quant_algo":"FP8","group_size":16,"exclude_modules":["lm_head"]})";
  const QuantConfig whole =
      parse(R"({"producer":{"name":"modelopt","version":"0.29.0"},"quantization":)" + inner + "}");
  EXPECT_EQ(whole.description(), "modelopt 0.29.0, NVFP4");
  EXPECT_TRUE(whole.fp8_kv_cache());
  EXPECT_EQ(declared(whole, kInProj), "NVFP4");
  EXPECT_EQ(declared(whole, "lm_head"), "none");
  EXPECT_EQ(declared(whole, "language_model.lm_head"), "none");
  const QuantConfig alone = parse(inner);
  EXPECT_EQ(alone.description(), "modelopt, NVFP4");
  EXPECT_TRUE(alone.fp8_kv_cache());
  EXPECT_EQ(declared(alone, kInProj), "NVFP4");
}

TEST(QuantConfig, AlgorithmsAreReadInAnyCase) {
  EXPECT_EQ(declared(parse(R"({"quant_algo":"nvfp4"})"), kInProj), "NVFP4");
  EXPECT_EQ(declared(parse(R"({"quant_algo":"W4A16_nvfp4"})"), kInProj), "W4A16_NVFP4");
  EXPECT_EQ(declared(parse(R"({"quant_algo":"fp8","group_size":16})"), kInProj), "FP8");
  EXPECT_EQ(declared(parse(R"({"quant_algo":null})"), kInProj), "none");
}

TEST(QuantConfig, OtherAlgorithmsMethodsAndGroupSizesAreRefusedByName) {
  for (const char* name :
       {"FP8_PB_WO", "FP8_PER_CHANNEL_PER_TOKEN", "W4A8_NVFP4_FP8", "NVFP4_AWQ", "MXFP8", "INT4_AWQ"})
    expect_parts(refusal(std::string(R"({"quant_algo":")") + name + "\"}"), {"quant_algo", name, "expected NVFP4"});
  struct Case {
    const char* json;
    std::vector<std::string> parts;
  };
  const Case cases[] = {
      {R"({"quant_method":"gptq"})", {"quant_method", "\"gptq\""}},
      {R"({"quant_method":"compressed-tensors","format":"pack-quantized"})", {"format", "\"pack-quantized\""}},
      {R"({"quant_method":"compressed-tensors"})", {"format", "none"}},
      {R"({"quant_algo":"NVFP4","group_size":32})", {"group_size", "expected 16 for NVFP4", "32"}},
      {R"({"quant_algo":"W4A16_NVFP4","group_size":"16"})", {"group_size", "\"16\""}},
      {R"({"quant_algo":8})", {"quant_algo", "expected a string", "number"}},
      {R"({"quant_algo":"MIXED_PRECISION"})", {"quantized_layers", "neither"}},
      {R"({"quant_algo":"MIXED_PRECISION","quantized_layers":[]})", {"quantized_layers", "an object", "array"}},
      {R"({"quant_algo":"MIXED_PRECISION","quantized_layers":{"a.b":{}}})",
       {"quantized_layers[\"a.b\"]", "quant_algo"}},
      {R"({"quant_algo":"MIXED_PRECISION","quantized_layers":{"a.b":{"quant_algo":"MXFP8"}}})", {"a.b", "MXFP8"}},
      {R"({"quant_algo":"MIXED_PRECISION","quantized_layers":{"a.b":{"quant_algo":"NVFP4","group_size":8}}})",
       {"a.b", "group_size", "8"}},
      {R"({"quantized_layers":{"model.a":{"quant_algo":"FP8"},"backbone.a":{"quant_algo":"NVFP4"}}})",
       {"backbone.a", "FP8 and NVFP4"}},
      {R"({"kv_cache_quant_algo":"NVFP4"})", {"kv_cache_quant_algo", "\"NVFP4\""}},
      {R"({"kv_cache_scheme":{"num_bits":8,"type":"int"}})", {"kv_cache_scheme", "8 bits of type \"int\""}},
      {R"({"kv_cache_scheme":[]})", {"kv_cache_scheme", "an object"}},
      {R"({"exclude_modules":"lm_head"})", {"exclude_modules", "an array"}},
      {R"({"ignore":[3]})", {"ignore", "expected a string"}},
      {R"({"quantization":[]})", {"quantization", "an object"}},
      {R"({"producer":7})", {"producer", "an object"}},
      {"[]", {"an object", "array"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.json);
    expect_parts(refusal(c.json), c.parts);
  }
}

TEST(QuantConfig, KeysAndValuesAreFp8OnlyIfDeclared) {
  EXPECT_TRUE(parse(R"({"kv_cache_quant_algo":"fp8"})").fp8_kv_cache());
  EXPECT_TRUE(parse(R"({"kv_cache_scheme":{"dynamic":false,"num_bits":8,"type":"float"}})").fp8_kv_cache());
  EXPECT_FALSE(parse(R"({"kv_cache_quant_algo":null,"kv_cache_scheme":null})").fp8_kv_cache());
  EXPECT_FALSE(parse("{}").fp8_kv_cache());
}

TEST(QuantConfig, WhatNoExportQuantisesIsNever) {
  const QuantConfig config = parse(R"({"quant_algo":"NVFP4","quantized_layers":{
      "backbone.layers.1.mixer.gate":{"quant_algo":"FP8"},"backbone.layers.1":{"quant_algo":"FP8"}}})");
  for (const char* module :
       {"backbone.layers.1.mixer.gate", "backbone.layers.1.mixer.conv1d", "backbone.layers.1.norm",
        "backbone.layers.1.mixer.norm", "backbone.norm_f", "model.norm", "mtp.layers.0.enorm", "mtp.layers.0.hnorm",
        "mtp.layers.1.final_layernorm", "backbone.layers.1.mixer.A_log", "backbone.layers.1.mixer.D",
        "backbone.layers.1.mixer.dt_bias", "backbone.layers.1.mixer.gate.e_score_correction_bias",
        "backbone.embeddings", "model.embed_tokens", ""})
    EXPECT_EQ(declared(config, module), "none") << module;
  EXPECT_EQ(declared(config, "backbone.layers.1.mixer.gate_proj"), "FP8");
}

TEST(QuantConfig, EmbeddingsAreQuantisedOnlyByName) {
  const QuantConfig config =
      parse(R"({"quant_algo":"NVFP4","quantized_layers":{"backbone.embeddings":{"quant_algo":"W4A16_NVFP4"}}})");
  EXPECT_EQ(declared(config, "backbone.embeddings"), "W4A16_NVFP4");
}

TEST(QuantConfig, PrefixesOfBothSidesDoNotMatter) {
  EXPECT_EQ(normalise_module("language_model.model.layers.1"), "backbone.layers.1");
  EXPECT_EQ(normalise_module("model.layers.1"), "backbone.layers.1");
  EXPECT_EQ(normalise_module("language_model.lm_head"), "lm_head");
  EXPECT_EQ(normalise_module("models.x"), "models.x");
  for (const char* prefix : {"backbone.", "model.", "language_model.backbone.", "language_model.model."}) {
    const std::string p(prefix);
    const QuantConfig config =
        parse(R"({"quant_algo":"NVFP4","exclude_modules":[")" + p + R"(layers.4.mixer.in_proj",")" + p +
              R"(layers.3*"],"quantized_layers":{")" + p + R"(layers.5.mixer.in_proj":{"quant_algo":"FP8"}}})");
    for (const char* other : {"backbone.", "model.", "language_model.backbone.", "language_model.model."}) {
      const std::string o(other);
      EXPECT_EQ(declared(config, o + "layers.4.mixer.in_proj"), "none") << p << o;
      EXPECT_EQ(declared(config, o + "layers.3.mixer.in_proj"), "none") << p << o;
      EXPECT_EQ(declared(config, o + "layers.5.mixer.in_proj"), "FP8") << p << o;
      EXPECT_EQ(declared(config, o + "layers.6.mixer.in_proj"), "NVFP4") << p << o;
    }
  }
}

TEST(QuantConfig, ExclusionBeatsInclusion) {
  const char* layers = R"("quantized_layers":{"backbone.layers.4.mixer.in_proj":{"quant_algo":"FP8"}})";
  for (const char* entry : {"backbone.layers.4.mixer.in_proj", "backbone.layers.4.mixer", "*.in_proj", "re:.*in_proj$"})
    EXPECT_EQ(declared(parse(std::string(R"({"quant_algo":"MIXED_PRECISION",)") + layers + R"(,"ignore":[")" + entry +
                             "\"]}"),
                       kInProj),
              "none")
        << entry;
}

TEST(QuantConfig, GlobsCoverWholeNames) {
  const auto excludes = [](const std::string& glob, const char* module) {
    return parse(R"({"quant_algo":"NVFP4","exclude_modules":[")" + glob + "\"]}").declared(module) ==
           QuantAlgorithm::none;
  };
  EXPECT_TRUE(excludes("mtp*", "mtp.layers.0.eh_proj"));
  EXPECT_TRUE(excludes("model.layers.3*", "backbone.layers.31.mixer.in_proj"));
  EXPECT_TRUE(excludes("*.layers.4.*", kInProj));
  EXPECT_TRUE(excludes("*mixer*proj", kInProj));
  EXPECT_TRUE(excludes("backbone.layers.?.mixer.in_proj", kInProj));
  EXPECT_TRUE(excludes("*", kInProj));
  EXPECT_FALSE(excludes("backbone.layers.?.mixer.in_proj", "backbone.layers.14.mixer.in_proj"));
  EXPECT_FALSE(excludes("in_proj*", kInProj));
  EXPECT_FALSE(excludes("*in_pro", kInProj));
  EXPECT_FALSE(excludes("*in_proj?", kInProj));
}

TEST(QuantConfig, BareSubstringsCountForOldProducersOnly) {
  const auto excludes = [](const std::string& version, const std::string& entry, const char* module) {
    return parse(R"({"producer":{"name":"modelopt","version":")" + version +
                 R"("},"quantization":{"quant_algo":"NVFP4","exclude_modules":[")" + entry + "\"]}}")
               .declared(module) == QuantAlgorithm::none;
  };
  EXPECT_TRUE(excludes("0.29.0", "mixer.in_proj", kInProj));
  EXPECT_TRUE(excludes("0.38.0rc1", "mixer.in_proj", kInProj));
  EXPECT_FALSE(excludes("0.39.0", "mixer.in_proj", kInProj));
  EXPECT_FALSE(excludes("0.43.0.dev63", "mixer.in_proj", kInProj));
  EXPECT_FALSE(excludes("1.2.0", "mixer.in_proj", kInProj));
  EXPECT_FALSE(excludes("", "mixer.in_proj", kInProj));
  EXPECT_TRUE(excludes("0.29.0", "layers.4", kInProj));
  EXPECT_FALSE(excludes("0.29.0", "layers.4", "backbone.layers.42.mixer.in_proj")) << "no part of a number";
}

TEST(QuantConfig, MixedPrecisionLooksUpNameThenExpertsThenParents) {
  const QuantConfig config = parse(R"({"quant_method":"modelopt","quant_algo":"MIXED_PRECISION",
    "producer":{"name":"modelopt","version":"0.43.0"},"quantized_layers":{
      "backbone.layers.0.mixer.in_proj":{"quant_algo":"FP8"},
      "backbone.layers.1.mixer.experts.0.up_proj":{"quant_algo":"NVFP4","group_size":16},
      "backbone.layers.1.mixer.experts.0.down_proj":{"quant_algo":"FP8"},
      "backbone.layers.1.mixer.shared_experts":{"quant_algo":"W4A16_NVFP4"},
      "backbone.layers.3.mixer.experts":{"quant_algo":"NVFP4"},
      "mtp*":{"quant_algo":"FP8"},
      "lm_head":{"quant_algo":"W4A16_NVFP4"}}})");
  EXPECT_EQ(config.description(), "modelopt 0.43.0, MIXED_PRECISION (2 FP8, 2 NVFP4, 2 W4A16_NVFP4)");
  const std::pair<const char*, const char*> cases[] = {
      {"backbone.layers.0.mixer.in_proj", "FP8"},
      {"backbone.layers.0.mixer.out_proj", "none"},
      {"backbone.layers.1.mixer.experts.0.down_proj", "FP8"},
      {"backbone.layers.1.mixer.experts", "NVFP4"},
      {"backbone.layers.1.mixer.experts.up_proj", "NVFP4"},
      {"backbone.layers.1.mixer.experts.1.up_proj", "none"},
      {"backbone.layers.1.mixer.shared_experts.up_proj", "W4A16_NVFP4"},
      {"backbone.layers.3.mixer.experts.17.up_proj", "NVFP4"},
      {"model.layers.0.mixer.in_proj", "FP8"},
      {"mtp.layers.0.eh_proj", "FP8"},
      {"lm_head", "W4A16_NVFP4"},
      {"backbone.embeddings", "none"},
  };
  for (const auto& [module, algorithm] : cases) EXPECT_EQ(declared(config, module), algorithm) << module;
}

TEST(QuantConfig, MixedPrecisionMayStandInConfigGroups) {
  const QuantConfig config = parse(R"({"quant_method":"modelopt","quant_algo":"MIXED_PRECISION","config_groups":{
    "group_0":{"weights":{"num_bits":8,"type":"float"},"input_activations":{"num_bits":8,"type":"float"},
               "targets":["backbone.layers.0.mixer.in_proj"]},
    "group_1":{"weights":{"num_bits":4,"type":"float","group_size":16},"input_activations":null,
               "targets":["*experts*"]}}})");
  EXPECT_EQ(declared(config, "backbone.layers.0.mixer.in_proj"), "FP8");
  EXPECT_EQ(declared(config, "backbone.layers.1.mixer.experts.3.up_proj"), "W4A16_NVFP4");
  EXPECT_EQ(declared(config, "backbone.layers.2.mixer.in_proj"), "none");
}

TEST(QuantConfig, GroupsOfAModelOptConfigOnlyRepeatItsAlgorithm) {
  EXPECT_EQ(declared(parse(R"({"quant_method":"modelopt","quant_algo":"FP8","ignore":["lm_head"],
    "config_groups":{"group_0":{"targets":["Linear"]}}})"),
                     kInProj),
            "FP8");
}

std::string compressed(const std::string& group, const std::string& more = "",
                       const char* format = "nvfp4-pack-quantized") {
  return std::string(R"({"quant_method":"compressed-tensors","format":")") + format +
         R"(","config_groups":{"group_0":)" + group + "}" + more + "}";
}

constexpr const char* kW4A4 = R"({"targets":["Linear"],"weights":{"num_bits":4,"type":"float","group_size":16},
    "input_activations":{"num_bits":4,"type":"float","group_size":16}})";

TEST(QuantConfig, ReadsCompressedTensors) {
  const QuantConfig config = parse(compressed(kW4A4, R"(,"ignore":["lm_head","re:.*layers\\.5\\..*"],
      "sparsity_config":{},"transform_config":{},"kv_cache_scheme":null)"));
  EXPECT_EQ(config.description(), "compressed-tensors, nvfp4-pack-quantized");
  EXPECT_EQ(declared(config, kInProj), "NVFP4");
  EXPECT_EQ(declared(config, "lm_head"), "none");
  EXPECT_EQ(declared(config, "backbone.layers.5.mixer.in_proj"), "none");
  EXPECT_EQ(declared(config, "backbone.embeddings"), "none");
  EXPECT_EQ(declared(parse(compressed(R"({"targets":["re:.*experts.*"],"weights":{"num_bits":4,"type":"float"}})")),
                     "backbone.layers.1.mixer.experts.3.up_proj"),
            "W4A16_NVFP4");
}

TEST(QuantConfig, ReadsCompressedTensorsOfMixedFormats) {
  const std::string fp8 = R"({"format":"float-quantized","targets":["re:.*in_proj"],
      "weights":{"num_bits":8,"type":"float","strategy":")";
  const auto config = parse(compressed(fp8 + R"(tensor"}})", "", "mixed-precision"));
  EXPECT_EQ(declared(config, kInProj), "FP8");
  expect_parts(refusal(compressed(fp8 + R"(channel"}})", "", "mixed-precision")),
               {"group_0", "strategy", "\"channel\""});
  expect_parts(refusal(compressed(kW4A4, "", "mixed-precision")), {"group_0", "format", "none"});
}

TEST(QuantConfig, CompressedTensorsThatStrataDoesNotComputeWithAreRefused) {
  struct Case {
    std::string json;
    std::vector<std::string> parts;
  };
  const Case cases[] = {
      {compressed(R"({"targets":["Linear"],"weights":{"num_bits":4,"type":"int"}})"), {"group_0", "type \"int\""}},
      {compressed(R"({"targets":["Linear"],"weights":{"num_bits":6,"type":"float"}})"), {"group_0", "6 bits"}},
      {compressed(R"({"targets":["Linear"],"weights":{"num_bits":4,"type":"float"},
                      "input_activations":{"num_bits":8,"type":"float"}})"),
       {"group_0", "weights 4 bits", "inputs 8 bits"}},
      {compressed(R"({"targets":["Linear"],"weights":{"num_bits":4,"type":"float","group_size":32}})"),
       {"group_0", "group_size", "32"}},
      {compressed(R"({"targets":["Linear"]})"), {"group_0", "weights", "none"}},
      {compressed(R"({"weights":{"num_bits":4,"type":"float"}})"), {"group_0", "targets", "none"}},
      {compressed(R"({"targets":"Linear","weights":{"num_bits":4,"type":"float"}})"), {"targets", "an array"}},
      {compressed(kW4A4, R"(,"sparsity_config":{"format":"sparse-24-bitmask"})"), {"sparsity_config"}},
      {compressed(kW4A4, R"(,"transform_config":{"config_groups":{}})"), {"transform_config"}},
      {R"({"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized"})", {"config_groups", "none"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.json);
    expect_parts(refusal(c.json), c.parts);
  }
}

TEST(QuantConfig, RegularExpressionsMatchFromTheBeginning) {
  const auto excludes = [](const std::string& pattern, const char* module) {
    return parse(compressed(kW4A4, ",\"ignore\":[\"re:" + pattern + "\"]")).declared(module) == QuantAlgorithm::none;
  };
  EXPECT_TRUE(excludes("backbone", kInProj));
  EXPECT_TRUE(excludes("model[.]layers[.]4[.]", kInProj)) << "the other spelling of the prefix";
  EXPECT_TRUE(excludes("language_model[.]model[.]layers", kInProj));
  EXPECT_TRUE(excludes(".*[.]in_proj$", kInProj));
  EXPECT_FALSE(excludes("in_proj", kInProj));
  EXPECT_FALSE(excludes(".*in_pro$", kInProj));
}

TEST(QuantConfig, PatternsThatDoNotCompileAreRefusedByName) {
  expect_parts(refusal(compressed(kW4A4, R"(,"ignore":["re:.*(gate"])")), {"ignore", "\".*(gate\"", "at byte 7"});
  expect_parts(refusal(compressed(kW4A4, R"(,"ignore":["re:a\\C"])")), {"ignore", "\\C"});
  expect_parts(refusal(compressed(kW4A4, ",\"ignore\":[\"re:" + std::string(2000, 'a') + "\"]")), {"at most 1024"});
}

TEST(QuantConfig, PatternsThatBacktrackWithoutEndAreRefused) {
  const QuantConfig config = parse(compressed(kW4A4, R"(,"ignore":["re:(a+)+(a+)+$"])"));
  const std::string name = std::string(60, 'a') + "b";
  expect_parts(message_of([&] { config.declared(name); }), {"ignore", "(a+)+(a+)+$", "backtracking"});
}

TEST(QuantConfig, NumbersOfPatternsAreLimited) {
  const auto list = [](const std::string& entry, int count) {
    std::string text = R"({"quant_algo":"FP8","ignore":["x")";
    for (int i = 0; i < count; ++i) text += ",\"" + entry + std::to_string(i) + "\"";
    return text + "]}";
  };
  EXPECT_EQ(declared(parse(list("*a", 4096)), kInProj), "FP8");
  expect_parts(refusal(list("*a", 4097)), {"ignore", "4096 patterns"});
  EXPECT_EQ(declared(parse(list("re:a", 256)), kInProj), "FP8");
  expect_parts(refusal(list("re:a", 257)), {"ignore", "256 regular expressions"});
  EXPECT_EQ(declared(parse(list("a", 100'000)), "a77777"), "none") << "plain names are not limited";
}

TEST(QuantConfig, DeclarationsOfManyLayersAreReadInLinearTime) {
  Json layers = Json::object();
  auto& entries = static_cast<Json::object_t::Container&>(layers.get_ref<Json::object_t&>());
  constexpr int kLayers = 200'000;
  for (int i = 0; i < kLayers; ++i)
    entries.emplace_back("backbone.layers.1.mixer.experts." + std::to_string(i) + ".up_proj",
                         Json{{"quant_algo", "NVFP4"}});
  Json declaration = {{"quant_algo", "MIXED_PRECISION"}};
  declaration["quantized_layers"] = std::move(layers);
  const QuantConfig config = QuantConfig::parse(declaration, "t");
  int found = 0;
  for (int i = 0; i < kLayers; ++i)
    found += config.declared("model.layers.1.mixer.experts." + std::to_string(i) + ".up_proj") == QuantAlgorithm::nvfp4;
  EXPECT_EQ(found, kLayers);
}

}  // namespace
}  // namespace strata
