// What the model tests share: real configurations, and small checkpoints written to a folder of their own.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/test_folder.h"
#include "model/registry.h"

namespace strata {

/// The config.json of NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4.
inline Json nano_config() {
  return parse_json(R"({"architectures": ["NemotronHForCausalLM"],
    "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1, "chunk_size": 128, "conv_kernel": 4,
    "eos_token_id": 2, "expand": 2, "head_dim": 128, "hidden_dropout": 0.0, "hidden_size": 2688,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "initializer_range": 0.02, "intermediate_size": 1856, "layer_norm_epsilon": 1e-05, "mamba_head_dim": 64,
    "mamba_hidden_act": "silu", "mamba_num_heads": 64, "mamba_proj_bias": false, "mamba_ssm_cache_dtype": "float32",
    "max_position_embeddings": 262144, "mlp_bias": false, "mlp_hidden_act": "relu2", "model_type": "nemotron_h",
    "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712, "n_group": 1, "n_groups": 8,
    "n_routed_experts": 128, "n_shared_experts": 1, "norm_eps": 1e-05, "norm_topk_prob": true,
    "num_attention_heads": 32, "num_experts_per_tok": 6, "num_hidden_layers": 52, "num_key_value_heads": 2,
    "num_logits_to_keep": 1, "pad_token_id": 0, "partial_rotary_factor": 1.0, "rescale_prenorm_residual": true,
    "residual_in_fp32": false, "rope_theta": 10000, "routed_scaling_factor": 2.5, "sliding_window": null,
    "ssm_state_size": 128, "tie_word_embeddings": false, "time_step_floor": 0.0001, "time_step_max": 0.1,
    "time_step_min": 0.001, "topk_group": 1, "torch_dtype": "bfloat16", "transformers_version": "4.53.2",
    "use_bias": false, "use_cache": true, "use_conv_bias": true, "use_mamba_kernels": true, "vocab_size": 131072})",
                    "nano");
}

/// A model of one block of each kind, a few kilobytes large.
inline Json tiny_config() {
  return parse_json(R"({"architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h",
    "hybrid_override_pattern": "ME*-", "vocab_size": 19, "hidden_size": 32, "mamba_num_heads": 4, "mamba_head_dim": 8,
    "n_groups": 2, "ssm_state_size": 8, "conv_kernel": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "moe_shared_expert_intermediate_size": 32})",
                    "tiny");
}

/// Writes a checkpoint tensor by tensor.
class TestCheckpoint {
 public:
  explicit TestCheckpoint(Json c = tiny_config()) : config(std::move(c)) {}

  /// Zeros.
  void add(const std::string& name, StoredType type, std::vector<std::int64_t> shape) {
    std::int64_t bytes = size_of(type);
    for (const std::int64_t n : shape) bytes *= n;
    add(name, type, std::move(shape), std::vector<std::byte>(static_cast<std::size_t>(bytes)));
  }
  void add(const std::string& name, StoredType type, std::vector<std::int64_t> shape, std::vector<std::byte> bytes) {
    tensors[name] = {type, std::move(shape), std::move(bytes)};
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    add(name, StoredType::F32, shape, {bytes.begin(), bytes.end()});
  }
  void add_scalar(const std::string& name, float value) { add(name, std::vector<std::int64_t>{}, {value}); }

  /// All that the configuration asks for, in BF16 zeros, but what need not be there.
  void add_model() {
    WeightList list;
    bind_model(config, "config", list);
    for (const WeightRequest& r : list.requests()) {
      switch (r.kind) {
        case WeightRequest::Kind::linear:
          add(r.name + ".weight", StoredType::BF16, {r.rows, r.cols});
          break;
        case WeightRequest::Kind::experts:
          for (std::int64_t e = 0; e < r.n; ++e)
            add(r.name + "." + std::to_string(e) + "." + r.projection + ".weight", StoredType::BF16, {r.rows, r.cols});
          break;
        case WeightRequest::Kind::vector:
          add(r.name, StoredType::BF16, {r.rows});
          break;
        case WeightRequest::Kind::table:
          add(r.name, StoredType::BF16, {r.rows, r.cols});
          break;
        case WeightRequest::Kind::scalar:
          break;
      }
    }
  }
  /// Every name that begins with `from` begins with `to` instead.
  void rename(const std::string& from, const std::string& to) {
    std::map<std::string, Tensor> renamed;
    for (auto& [name, tensor] : tensors)
      renamed[name.starts_with(from) ? to + name.substr(from.size()) : name] = std::move(tensor);
    tensors = std::move(renamed);
  }

  Checkpoint open() const {
    folder_->write("config.json", config.dump());
    if (!quantization.is_null()) folder_->write("hf_quant_config.json", quantization.dump());
    std::vector<SafetensorsWriter::Tensor> declared;
    for (const auto& [name, tensor] : tensors) declared.push_back({name, tensor.type, tensor.shape});
    SafetensorsWriter writer(folder_->path() / "model.safetensors", declared);
    for (const auto& [name, tensor] : tensors) writer.append(tensor.bytes);
    writer.finish();
    return Checkpoint::open(folder_->path());
  }

  struct Tensor {
    StoredType type = StoredType::F32;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };
  Json config, quantization;
  std::map<std::string, Tensor> tensors;

 private:
  std::shared_ptr<TestFolder> folder_ = std::make_shared<TestFolder>();
};

}  // namespace strata
