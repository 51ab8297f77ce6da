#include "model/nemotron_h_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/config_reader.h"

namespace strata {
namespace {

// Far above any real model, low enough that no product of three overflows or asks for absurd memory by itself.
constexpr std::int64_t kMostFeatures = 1 << 20, kMostBlocks = 4096, kMostExperts = 1 << 16, kMostVocab = 1 << 24;
// What the backends' kernels are made for.
constexpr std::int64_t kMostHeadDim = 512, kMostConvTaps = 16;

BlockKind kind_from_name(const ConfigReader& reader, std::string_view key, const Json& name) {
  if (name.is_string()) {
    const auto& text = name.get_ref<const std::string&>();
    if (text == "mamba" || text == "linear_attention" || text == "M") return BlockKind::mamba;
    if (text == "moe" || text == "E") return BlockKind::moe;
    if (text == "attention" || text == "full_attention" || text == "*") return BlockKind::attention;
    if (text == "mlp" || text == "-") return BlockKind::mlp;
  }
  reader.fail(key, "expected \"mamba\", \"moe\", \"attention\" or \"mlp\", found " + name.dump(-1, ' ', true));
}

/// The list of blocks: a list of names, else the pattern string, else the types in block_configs.
std::vector<BlockConfig> read_kinds(const ConfigReader& reader) {
  std::vector<BlockConfig> blocks;
  if (const Json* list = reader.find({"layers_block_type", "layer_types"})) {
    if (!list->is_array()) reader.fail("layers_block_type", "expected a list");
    for (const Json& name : *list) blocks.push_back({kind_from_name(reader, "layers_block_type", name), 0, {}});
  } else if (const auto pattern = reader.text({"hybrid_override_pattern"})) {
    for (char letter : *pattern) {
      if (std::string_view("ME*-").find(letter) == std::string_view::npos) {
        reader.fail("hybrid_override_pattern",
                    "expected the letters M, E, * and -, found " +
                        Json(std::string(1, letter)).dump(-1, ' ', true, Json::error_handler_t::replace));
      }
      blocks.push_back({static_cast<BlockKind>(letter), 0, {}});
    }
  } else if (const Json* configs = reader.find({"block_configs"})) {
    if (!configs->is_array()) reader.fail("block_configs", "expected a list");
    for (const Json& config : *configs) {
      const ConfigReader block(config, reader.what() + ": block_configs");
      const Json* type = block.find({"block_type"});
      blocks.push_back({kind_from_name(block, "block_type", type ? *type : Json()), 0, {}});
    }
  } else {
    reader.fail("hybrid_override_pattern",
                "is missing, and so are layers_block_type and block_configs; one of them has to list the blocks");
  }
  if (blocks.empty() || std::ssize(blocks) > kMostBlocks) {
    reader.fail("hybrid_override_pattern",
                "expected 1 to " + std::to_string(kMostBlocks) + " blocks, found " + std::to_string(blocks.size()));
  }
  const std::int64_t layers = reader.integer({"num_hidden_layers"}, 1, kMostBlocks, std::ssize(blocks));
  if (layers != std::ssize(blocks)) {
    reader.fail("num_hidden_layers",
                "is " + std::to_string(layers) + ", but the list of blocks has " + std::to_string(blocks.size()));
  }
  return blocks;
}

MoeConfig read_moe(const ConfigReader& reader, const MoeConfig* outer) {
  auto fallback = [&](std::int64_t MoeConfig::*field) { return outer ? std::optional(outer->*field) : std::nullopt; };
  MoeConfig moe;
  moe.n_routed_experts = reader.integer({"n_routed_experts", "num_local_experts"}, 1, kMostExperts,
                                        fallback(&MoeConfig::n_routed_experts));
  moe.num_experts_per_tok =
      reader.integer({"num_experts_per_tok"}, 1, kMostExperts, fallback(&MoeConfig::num_experts_per_tok));
  moe.moe_intermediate_size =
      reader.integer({"moe_intermediate_size"}, 1, kMostFeatures, fallback(&MoeConfig::moe_intermediate_size));
  // One MLP of this width, whatever n_shared_experts says; 0 shared experts: none.
  const bool shared = outer || reader.integer({"n_shared_experts"}, 0, kMostExperts, 1) > 0;
  moe.moe_shared_expert_intermediate_size =
      shared ? reader.integer({"moe_shared_expert_intermediate_size"}, 0, kMostFeatures,
                              fallback(&MoeConfig::moe_shared_expert_intermediate_size))
             : 0;
  moe.moe_latent_size = reader.integer({"moe_latent_size"}, 0, kMostFeatures, outer ? outer->moe_latent_size : 0);
  return moe;
}

void read_moe_blocks(const ConfigReader& reader, NemotronHConfig& c) {
  if (c.count(BlockKind::moe) == 0) return;
  const Json* configs = reader.find({"block_configs"});
  const bool per_block = configs && configs->is_array() && std::ssize(*configs) == std::ssize(c.blocks);
  std::optional<MoeConfig> common;
  if (!per_block || reader.find({"moe_intermediate_size"})) common = read_moe(reader, nullptr);
  for (std::size_t b = 0; b < c.blocks.size(); ++b) {
    if (c.blocks[b].kind != BlockKind::moe) continue;
    MoeConfig& moe = c.blocks[b].moe;
    if (per_block) {
      moe = read_moe(ConfigReader((*configs)[b], reader.what() + ": block_configs[" + std::to_string(b) + "]"),
                     common ? &*common : nullptr);
    } else {
      moe = *common;
    }
    if (moe.num_experts_per_tok > moe.n_routed_experts) {
      reader.fail("num_experts_per_tok", "is " + std::to_string(moe.num_experts_per_tok) + " of only " +
                                             std::to_string(moe.n_routed_experts) + " experts");
    }
  }
  c.n_group = reader.integer({"n_group"}, 1, kMostExperts, 1);
  c.topk_group = reader.integer({"topk_group"}, 1, c.n_group, 1);
  c.norm_topk_prob = reader.flag({"norm_topk_prob"}, true);
  c.routed_scaling_factor = static_cast<float>(reader.number({"routed_scaling_factor"}, 1e-6, 1e6, 1));
  for (const BlockConfig& b : c.blocks) {
    if (b.kind != BlockKind::moe) continue;
    if (b.moe.n_routed_experts % c.n_group != 0) {
      reader.fail("n_group", std::to_string(b.moe.n_routed_experts) + " experts can't be split into " +
                                 std::to_string(c.n_group) + " groups of one size");
    }
    if (b.moe.num_experts_per_tok > b.moe.n_routed_experts / c.n_group * c.topk_group) {
      reader.fail("topk_group", "the chosen groups have fewer experts than num_experts_per_tok");
    }
  }
}

/// intermediate_size is one number, or a list by MLP block or by block.
void read_mlp_blocks(const ConfigReader& reader, NemotronHConfig& c) {
  const std::int64_t mlps = c.count(BlockKind::mlp);
  if (mlps == 0) return;
  const Json* value = reader.find({"intermediate_size"});
  const bool list = value && value->is_array();
  if (list && std::ssize(*value) != mlps && std::ssize(*value) != std::ssize(c.blocks)) {
    reader.fail("intermediate_size", "expected a number, or a list of " + std::to_string(mlps) +
                                         " (one an MLP block) or " + std::to_string(c.blocks.size()) +
                                         " (one a block), found " + std::to_string(value->size()));
  }
  std::size_t mlp = 0;
  for (std::size_t b = 0; b < c.blocks.size(); ++b) {
    if (c.blocks[b].kind != BlockKind::mlp) continue;
    if (list) {
      const Json entry{{"intermediate_size", (*value)[std::ssize(*value) == mlps ? mlp : b]}};
      c.blocks[b].intermediate_size =
          ConfigReader(entry, reader.what()).integer({"intermediate_size"}, 1, kMostFeatures);
    } else {
      c.blocks[b].intermediate_size = reader.integer({"intermediate_size"}, 1, kMostFeatures);
    }
    ++mlp;
  }
}

void read_attention(const ConfigReader& reader, NemotronHConfig& c) {
  if (c.count(BlockKind::attention) == 0) return;
  c.num_attention_heads = reader.integer({"num_attention_heads"}, 1, kMostFeatures);
  c.num_key_value_heads = reader.integer({"num_key_value_heads"}, 1, kMostFeatures, c.num_attention_heads);
  c.head_dim = reader.integer({"head_dim", "attention_head_dim"}, 1, kMostHeadDim,
                              std::max<std::int64_t>(1, c.hidden_size / c.num_attention_heads));
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    reader.fail("num_key_value_heads", std::to_string(c.num_attention_heads) + " heads can't share " +
                                           std::to_string(c.num_key_value_heads) + " key-value heads evenly");
  }
  reader.require("attention_bias", false);
}

/// A bound of time_step_limit: a number, null, or a string such as "inf".
float read_bound(const ConfigReader& reader, const Json& value, float otherwise) {
  if (value.is_null() || value == "inf" || value == "Infinity") return otherwise;
  if (!value.is_number() || !(value.get<double>() >= 0)) {
    reader.fail("time_step_limit",
                "expected [least, most], numbers >= 0 or \"inf\", found " + value.dump(-1, ' ', true));
  }
  return static_cast<float>(value.get<double>());
}

void read_mamba(const ConfigReader& reader, NemotronHConfig& c) {
  if (c.count(BlockKind::mamba) == 0) return;
  c.mamba_num_heads = reader.integer({"mamba_num_heads"}, 1, kMostFeatures);
  c.mamba_head_dim = reader.integer({"mamba_head_dim"}, 1, 4096);
  c.n_groups = reader.integer({"n_groups", "mamba_n_groups"}, 1, kMostFeatures);
  c.ssm_state_size = reader.integer({"ssm_state_size"}, 1, 4096);
  c.conv_kernel = reader.integer({"conv_kernel", "mamba_d_conv"}, 1, kMostConvTaps);
  c.use_conv_bias = reader.flag({"use_conv_bias", "mamba_conv_bias"}, true);
  if (c.mamba_num_heads % c.n_groups != 0) {
    reader.fail("n_groups", std::to_string(c.mamba_num_heads) + " Mamba heads can't share " +
                                std::to_string(c.n_groups) + " groups evenly");
  }
  if (const Json* limit = reader.find({"time_step_limit", "mamba_dt_limit"})) {
    if (!limit->is_array() || limit->size() != 2)
      reader.fail("time_step_limit", "expected [least, most], found " + limit->dump(-1, ' ', true));
    c.time_step_min = read_bound(reader, (*limit)[0], 0);
    c.time_step_max = read_bound(reader, (*limit)[1], std::numeric_limits<float>::infinity());
    if (c.time_step_min > c.time_step_max) reader.fail("time_step_limit", "the least is above the most");
  }
  for (std::string_view key : {"use_bias", "mamba_proj_bias"}) reader.require(key, false);
  reader.require("mamba_hidden_act", "silu");
}

}  // namespace

std::string_view name_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::mamba:
      return "mamba";
    case BlockKind::moe:
      return "moe";
    case BlockKind::attention:
      return "attention";
    case BlockKind::mlp:
      return "mlp";
  }
  return "?";
}

std::int64_t NemotronHConfig::count(BlockKind kind) const {
  return std::count_if(blocks.begin(), blocks.end(), [&](const BlockConfig& b) { return b.kind == kind; });
}

NemotronHConfig NemotronHConfig::parse(const Json& config, std::string_view what) {
  const ConfigReader outer(config, std::string(what));
  if (const Json* inner = outer.find({"llm_config", "text_config"})) {
    return parse(*inner, std::string(what) + ": " + (outer.find({"llm_config"}) ? "llm_config" : "text_config"));
  }
  const ConfigReader& reader = outer;
  NemotronHConfig c;
  c.blocks = read_kinds(reader);
  c.vocab_size = reader.integer({"vocab_size"}, 1, kMostVocab);
  c.hidden_size = reader.integer({"hidden_size"}, 1, kMostFeatures);
  c.max_position_embeddings = reader.integer({"max_position_embeddings"}, 1, std::int64_t{1} << 40, 4096);
  c.layer_norm_epsilon =
      static_cast<float>(reader.number({"layer_norm_epsilon", "norm_eps", "rms_norm_eps"}, 0, 1, 1e-5));
  c.tie_word_embeddings = reader.flag({"tie_word_embeddings"}, false);
  c.num_nextn_predict_layers = reader.integer({"num_nextn_predict_layers"}, 0, 64, 0);
  reader.require("mlp_hidden_act", "relu2");
  reader.require("mlp_bias", false);
  if (reader.find({"sliding_window"}))
    reader.fail("sliding_window", "Strata computes full attention only; expected null");
  read_attention(reader, c);
  read_mamba(reader, c);
  read_mlp_blocks(reader, c);
  read_moe_blocks(reader, c);
  return c;
}

}  // namespace strata
