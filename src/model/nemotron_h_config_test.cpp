// config.json of the Nemotron-H family: spellings, defaults, sizes, and what is refused.
#include "model/nemotron_h_config.h"

#include <gtest/gtest.h>

#include "model/model_test_support.h"

namespace strata {
namespace {

NemotronHConfig parse(const Json& config) { return NemotronHConfig::parse(config, "config.json"); }
NemotronHConfig parse_with(const std::string& key, const Json& value, Json config = tiny_config()) {
  config[key] = value;
  return parse(config);
}
std::string refusal(const Json& config) {
  return message_of([&] { parse(config); });
}

std::string pattern_of(const NemotronHConfig& c) {
  std::string pattern;
  for (const BlockConfig& b : c.blocks) pattern += static_cast<char>(b.kind);
  return pattern;
}

TEST(NemotronHConfig, NanoIsReadWhole) {
  const NemotronHConfig c = parse(nano_config());
  EXPECT_EQ(pattern_of(c), "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME");
  EXPECT_EQ(c.count(BlockKind::mamba), 23);
  EXPECT_EQ(c.count(BlockKind::moe), 23);
  EXPECT_EQ(c.count(BlockKind::attention), 6);
  EXPECT_EQ(c.count(BlockKind::mlp), 0);
  EXPECT_EQ(c.vocab_size, 131072);
  EXPECT_EQ(c.hidden_size, 2688);
  EXPECT_EQ(c.max_position_embeddings, 262144);
  EXPECT_EQ(c.layer_norm_epsilon, 1e-5f);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_EQ(c.num_attention_heads, 32);
  EXPECT_EQ(c.num_key_value_heads, 2);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_TRUE(c.use_conv_bias);
  EXPECT_EQ(c.conv_kernel, 4);
  EXPECT_EQ(c.time_step_min, 0) << "time_step_min of the file is for training only";
  EXPECT_EQ(c.time_step_max, std::numeric_limits<float>::infinity());
  EXPECT_EQ(c.n_group, 1);
  EXPECT_TRUE(c.norm_topk_prob);
  EXPECT_EQ(c.routed_scaling_factor, 2.5f);
  EXPECT_EQ(c.num_nextn_predict_layers, 0);
  const MoeConfig& moe = c.blocks[1].moe;
  EXPECT_EQ(moe.n_routed_experts, 128);
  EXPECT_EQ(moe.num_experts_per_tok, 6);
  EXPECT_EQ(moe.moe_intermediate_size, 1856);
  EXPECT_EQ(moe.moe_shared_expert_intermediate_size, 3712);
  EXPECT_EQ(moe.moe_latent_size, 0);
}

TEST(NemotronHConfig, DerivedSizesAreTheFamilys) {
  struct Member {
    std::int64_t heads, head_dim, state, inner, conv, in_proj;
  };
  for (const Member& m : {Member{112, 64, 128, 7168, 9216, 16496},
                          {128, 64, 128, 8192, 10240, 18560},
                          {256, 64, 256, 16384, 20480, 37120},
                          {128, 80, 128, 10240, 12288, 22656},
                          {96, 80, 128, 7680, 9728, 17504},
                          {64, 64, 128, 4096, 6144, 10304},
                          {256, 64, 128, 16384, 18432, 35072}}) {
    Json config = nano_config();
    config["mamba_num_heads"] = m.heads, config["mamba_head_dim"] = m.head_dim, config["ssm_state_size"] = m.state;
    const NemotronHConfig c = parse(config);
    EXPECT_EQ(c.mamba_inner(), m.inner);
    EXPECT_EQ(c.conv_dim(), m.conv);
    EXPECT_EQ(c.in_proj_dim(), m.in_proj);
  }
}

TEST(NemotronHConfig, SuperAddsLatentExpertsAndMultiTokenPrediction) {
  Json config = nano_config();
  config.erase("torch_dtype");
  config["dtype"] = "bfloat16", config["hidden_size"] = 4096, config["num_hidden_layers"] = 88;
  config["hybrid_override_pattern"] =
      "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME";
  config["mamba_num_heads"] = 128, config["moe_intermediate_size"] = 2688, config["moe_latent_size"] = 1024;
  config["moe_shared_expert_intermediate_size"] = 5376, config["mtp_hybrid_override_pattern"] = "*E";
  config["num_nextn_predict_layers"] = 1, config["n_routed_experts"] = 512, config["num_experts_per_tok"] = 22;
  config["routed_scaling_factor"] = 5.0;
  const NemotronHConfig c = parse(config);
  EXPECT_EQ(c.count(BlockKind::mamba), 40);
  EXPECT_EQ(c.count(BlockKind::moe), 40);
  EXPECT_EQ(c.count(BlockKind::attention), 8);
  EXPECT_EQ(c.in_proj_dim(), 18560);
  EXPECT_EQ(c.blocks[1].moe.moe_latent_size, 1024);
  EXPECT_EQ(c.blocks[1].moe.num_experts_per_tok, 22);
  EXPECT_EQ(c.num_nextn_predict_layers, 1);
}

TEST(NemotronHConfig, BothSpellingsOfAKeyAreRead) {
  struct Key {
    const char *first, *second;
    Json value;
    std::int64_t NemotronHConfig::*field;
  };
  for (const Key& k : {Key{"head_dim", "attention_head_dim", 24, &NemotronHConfig::head_dim},
                       {"n_groups", "mamba_n_groups", 4, &NemotronHConfig::n_groups},
                       {"conv_kernel", "mamba_d_conv", 3, &NemotronHConfig::conv_kernel}}) {
    SCOPED_TRACE(k.second);
    Json config = tiny_config();
    const std::int64_t before = parse(config).*k.field;
    config[k.second] = k.value;
    EXPECT_EQ(parse(config).*k.field, before) << "the first spelling counts";
    config[k.first] = nullptr;
    EXPECT_EQ(parse(config).*k.field, k.value) << "unless it is null";
    config.erase(k.first);
    EXPECT_EQ(parse(config).*k.field, k.value);
  }
  Json config = tiny_config();
  config.erase("n_routed_experts");
  config["num_local_experts"] = 5, config["mamba_conv_bias"] = false, config["rms_norm_eps"] = 0.5;
  EXPECT_EQ(parse(config).blocks[1].moe.n_routed_experts, 5);
  EXPECT_FALSE(parse(config).use_conv_bias);
  EXPECT_EQ(parse(config).layer_norm_epsilon, 0.5f);
  config["norm_eps"] = 0.25;
  EXPECT_EQ(parse(config).layer_norm_epsilon, 0.25f);
  config["layer_norm_epsilon"] = 0.125;
  EXPECT_EQ(parse(config).layer_norm_epsilon, 0.125f);
}

TEST(NemotronHConfig, BlocksAreAListAPatternOrBlockConfigs) {
  Json config = tiny_config();
  config["layers_block_type"] = {"attention", "mamba", "mlp", "moe"};
  EXPECT_EQ(pattern_of(parse(config)), "*M-E") << "the list counts, not the pattern";
  config["layers_block_type"] = nullptr;
  EXPECT_EQ(pattern_of(parse(config)), "ME*-");
  config["layer_types"] = {"full_attention", "linear_attention", "*", "M", "E", "-"};
  EXPECT_EQ(pattern_of(parse(config)), "*M*ME-");
  config.erase("layer_types");
  config.erase("hybrid_override_pattern");
  config["block_configs"] = {{{"block_type", "mamba"}}, {{"block_type", "moe"}}};
  EXPECT_EQ(pattern_of(parse(config)), "ME");
}

TEST(NemotronHConfig, BlockConfigsSizeEachMixture) {
  Json config = tiny_config();
  config.erase("hybrid_override_pattern");
  config["block_configs"] = parse_json(R"([
    {"block_type": "moe", "moe_intermediate_size": 24, "num_experts_per_tok": 1},
    {"block_type": "mamba"},
    {"block_type": "moe", "n_routed_experts": 7, "num_experts_per_tok": 3, "moe_latent_size": 8,
     "moe_shared_expert_intermediate_size": 0}])",
                                       "blocks");
  const NemotronHConfig c = parse(config);
  EXPECT_EQ(c.blocks[0].moe.moe_intermediate_size, 24);
  EXPECT_EQ(c.blocks[0].moe.num_experts_per_tok, 1);
  EXPECT_EQ(c.blocks[0].moe.n_routed_experts, 4);
  EXPECT_EQ(c.blocks[0].moe.moe_shared_expert_intermediate_size, 32);
  EXPECT_EQ(c.blocks[2].moe.moe_intermediate_size, 16);
  EXPECT_EQ(c.blocks[2].moe.n_routed_experts, 7);
  EXPECT_EQ(c.blocks[2].moe.moe_latent_size, 8);
  EXPECT_EQ(c.blocks[2].moe.moe_shared_expert_intermediate_size, 0);
}

TEST(NemotronHConfig, BlockConfigsNeedNoCommonSizes) {
  Json config = tiny_config();
  for (const char* key : {"hybrid_override_pattern", "moe_intermediate_size", "num_experts_per_tok"}) config.erase(key);
  config["block_configs"] = parse_json(R"([{"block_type": "moe", "moe_intermediate_size": 24, "n_routed_experts": 4,
    "num_experts_per_tok": 1, "moe_shared_expert_intermediate_size": 8}])",
                                       "blocks");
  EXPECT_EQ(parse(config).blocks[0].moe.moe_intermediate_size, 24);
}

TEST(NemotronHConfig, WidthsOfMlpBlocksAreOneNumberOrAList) {
  Json config = tiny_config();
  config["hybrid_override_pattern"] = "-M-";
  EXPECT_EQ(parse(config).blocks[2].intermediate_size, 48);
  config["intermediate_size"] = {16, 32};
  EXPECT_EQ(parse(config).blocks[0].intermediate_size, 16);
  EXPECT_EQ(parse(config).blocks[2].intermediate_size, 32);
  config["intermediate_size"] = {16, 0, 64};
  EXPECT_EQ(parse(config).blocks[2].intermediate_size, 64);
  config["intermediate_size"] = {16, 32, 48, 64};
  expect_parts(refusal(config),
               {"config.json: intermediate_size", "2 (one an MLP block)", "3 (one a block)", "found 4"});
  config["intermediate_size"] = {16, nullptr};
  expect_parts(refusal(config), {"intermediate_size", "missing"});
}

TEST(NemotronHConfig, KeysThatMayBeMissingOrNullHaveTheirDefaults) {
  Json config = tiny_config();
  for (const char* key : {"num_hidden_layers", "num_key_value_heads", "head_dim", "time_step_limit", "moe_latent_size",
                          "n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor", "tie_word_embeddings",
                          "max_position_embeddings", "use_conv_bias", "sliding_window", "n_shared_experts"})
    config[key] = nullptr;
  const NemotronHConfig c = parse(config);
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.time_step_max, std::numeric_limits<float>::infinity());
  EXPECT_EQ(c.blocks[1].moe.moe_latent_size, 0);
  EXPECT_EQ(c.blocks[1].moe.moe_shared_expert_intermediate_size, 32);
  EXPECT_EQ(c.n_group, 1);
  EXPECT_EQ(c.routed_scaling_factor, 1);
  EXPECT_TRUE(c.norm_topk_prob);
  EXPECT_TRUE(c.use_conv_bias);
  EXPECT_EQ(c.max_position_embeddings, 4096);
}

TEST(NemotronHConfig, WidthsOfBlocksThatAreNotThereAreNotAskedFor) {
  const Json config = parse_json(R"({"hybrid_override_pattern": "-", "vocab_size": 8, "hidden_size": 8,
    "intermediate_size": 16})",
                                 "mlp");
  EXPECT_EQ(parse(config).blocks.size(), 1u);
}

TEST(NemotronHConfig, NoSharedExpertsMeansNone) {
  EXPECT_EQ(parse_with("n_shared_experts", 0).blocks[1].moe.moe_shared_expert_intermediate_size, 0);
  EXPECT_EQ(parse_with("n_shared_experts", 2).blocks[1].moe.moe_shared_expert_intermediate_size, 32);
}

TEST(NemotronHConfig, TimeStepLimitTakesNumbersNullAndInfinityInWords) {
  const auto limit = [](const Json& value) {
    const NemotronHConfig c = parse_with("time_step_limit", value);
    return std::pair(c.time_step_min, c.time_step_max);
  };
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(limit({0.0, "inf"}), std::pair(0.0f, infinity));
  EXPECT_EQ(limit({0.5, "Infinity"}), std::pair(0.5f, infinity));
  EXPECT_EQ(limit({nullptr, nullptr}), std::pair(0.0f, infinity));
  EXPECT_EQ(limit({0, 1e20}), std::pair(0.0f, 1e20f));
  EXPECT_EQ(limit({0.001, 0.1}), std::pair(0.001f, 0.1f));
  EXPECT_EQ(parse_with("mamba_dt_limit", {0.25, 0.5}).time_step_max, 0.5f);
}

TEST(NemotronHConfig, WrappersAreEntered) {
  for (const char* key : {"llm_config", "text_config"}) {
    Json outer{{"architectures", {"SomeVisionModel"}}, {key, tiny_config()}};
    EXPECT_EQ(parse(outer).hidden_size, 32);
    outer[key]["hidden_size"] = "wide";
    expect_parts(refusal(outer),
                 {"config.json: " + std::string(key) + ": hidden_size: expected an integer", "\"wide\""});
  }
}

TEST(NemotronHConfig, AWrappersNullIsNoConfiguration) {
  Json outer{{"llm_config", nullptr}, {"text_config", tiny_config()}};
  outer["text_config"]["hidden_size"] = 0;
  expect_parts(refusal(outer), {"config.json: text_config: hidden_size"});
}

struct Refused {
  const char* key;
  Json value;
  std::vector<std::string> parts;
};

TEST(NemotronHConfig, MessagesNameTheKeyWhatIsExpectedAndWhatWasFound) {
  for (const Refused& r : std::vector<Refused>{
           {"hidden_size", 0, {"an integer from 1", "found 0"}},
           {"hidden_size", -5, {"an integer from 1", "found -5"}},
           {"hidden_size", 1.5, {"an integer", "found 1.5"}},
           {"hidden_size", "2688", {"an integer", "found \"2688\""}},
           {"hidden_size", nullptr, {"missing", "an integer"}},
           {"vocab_size", 1e300, {"an integer", "found 1e+300"}},
           {"vocab_size", true, {"an integer", "found true"}},
           {"max_position_embeddings", 0, {"an integer from 1"}},
           {"layer_norm_epsilon", 2, {"a number from 0 to 1", "found 2"}},
           {"layer_norm_epsilon", "1e-5", {"a number", "found \"1e-5\""}},
           {"tie_word_embeddings", "no", {"true or false", "found \"no\""}},
           {"num_nextn_predict_layers", 65, {"an integer from 0 to 64", "found 65"}},
           {"hybrid_override_pattern", "MEX", {"M, E, * and -", "found \"X\""}},
           {"hybrid_override_pattern", "", {"1 to", "blocks", "found 0"}},
           {"hybrid_override_pattern", 7, {"a string", "found 7"}},
           {"hybrid_override_pattern", nullptr, {"missing", "layers_block_type", "block_configs"}},
           {"layers_block_type", "ME", {"a list"}},
           {"layers_block_type", {"mamba", "rnn"}, {"\"mamba\", \"moe\", \"attention\" or \"mlp\"", "found \"rnn\""}},
           {"layers_block_type", {"mamba", 3}, {"\"mlp\"", "found 3"}},
           {"num_hidden_layers", 5, {"is 5", "has 4"}},
           {"num_attention_heads", 0, {"an integer from 1", "found 0"}},
           {"num_key_value_heads", 3, {"4 heads", "3 key-value heads"}},
           {"head_dim", 0, {"an integer from 1", "found 0"}},
           {"attention_bias", true, {"false only", "found true"}},
           {"mlp_bias", true, {"false only", "found true"}},
           {"use_bias", true, {"false only", "found true"}},
           {"mamba_proj_bias", true, {"false only", "found true"}},
           {"mamba_hidden_act", "gelu", {"\"silu\" only", "found \"gelu\""}},
           {"mlp_hidden_act", "silu", {"\"relu2\" only", "found \"silu\""}},
           {"sliding_window", 4096, {"full attention", "null"}},
           {"n_groups", 3, {"4 Mamba heads", "3 groups"}},
           {"ssm_state_size", 0, {"an integer from 1", "found 0"}},
           {"conv_kernel", 0, {"an integer from 1", "found 0"}},
           {"time_step_limit", {0.1}, {"[least, most]", "found [0.1]"}},
           {"time_step_limit", {-1, 2}, {"numbers >= 0", "found -1"}},
           {"time_step_limit", {0, "much"}, {"\"inf\"", "found \"much\""}},
           {"time_step_limit", {2, 1}, {"least is above the most"}},
           {"num_experts_per_tok", 5, {"is 5", "4 experts"}},
           {"n_group", 3, {"4 experts", "3 groups"}},
           {"n_group", 4, {"fewer experts than num_experts_per_tok"}},
           {"topk_group", 2, {"an integer from 1 to 1", "found 2"}},
           {"routed_scaling_factor", 0, {"a number from", "found 0"}},
           {"norm_topk_prob", 1, {"true or false", "found 1"}},
           {"intermediate_size", nullptr, {"missing"}},
           {"moe_intermediate_size", nullptr, {"missing"}},
       }) {
    SCOPED_TRACE(std::string(r.key) + " = " + r.value.dump());
    Json config = tiny_config();
    config[r.key] = r.value;
    const std::string message = refusal(config);
    expect_parts(message, r.parts);
    const std::string key = std::string(r.key) == "n_group" && r.value == 4 ? "topk_group" : r.key;
    EXPECT_TRUE(message.starts_with("config.json: " + key + ": ")) << message;
  }
}

TEST(NemotronHConfig, MessagesNameTheSpellingThatWasFound) {
  Json config = tiny_config();
  config.erase("head_dim");
  config["attention_head_dim"] = "wide";
  expect_parts(refusal(config), {"config.json: attention_head_dim: "});
  config.erase("attention_head_dim");
  config["norm_eps"] = -1;
  expect_parts(refusal(config), {"config.json: norm_eps: "});
}

// What a step would stop at has to be refused before.
TEST(NemotronHConfig, WidthsBeyondTheKernelsAreRefused) {
  EXPECT_EQ(parse_with("conv_kernel", 16).conv_kernel, 16);
  EXPECT_EQ(parse_with("head_dim", 512).head_dim, 512);
  Json config = tiny_config();
  config["conv_kernel"] = 17;
  expect_parts(refusal(config), {"conv_kernel", "from 1 to 16", "found 17"});
  config = tiny_config();
  config["head_dim"] = 513;
  expect_parts(refusal(config), {"head_dim", "from 1 to 512", "found 513"});
}

TEST(NemotronHConfig, WhatIsNoObjectIsRefused) {
  expect_parts(refusal(Json::array()), {"config.json", "a JSON object", "found []"});
  expect_parts(refusal(Json{{"llm_config", 3}}), {"config.json: llm_config", "a JSON object", "found 3"});
  Json config = tiny_config();
  config.erase("hybrid_override_pattern");
  config["block_configs"] = {{{"block_type", "moe"}}, 7};
  expect_parts(refusal(config), {"block_configs", "a JSON object", "found 7"});
  config["block_configs"] = {{{"kind", "moe"}}};
  expect_parts(refusal(config), {"block_type", "found null"});
}

}  // namespace
}  // namespace strata
